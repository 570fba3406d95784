"""What other processes use of the machine, as Linux tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from repocache.testing.process import processes


def cpu_seconds(pid: int) -> float:
    """CPU that a process, its threads and all that it forked and that still run have used. Raises
    OSError where the system does not tell."""
    return sum(map(of_threads, family(pid)))


def of_threads(pid: int) -> float:
    try:
        threads = [each / "schedstat" for each in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int(each.read_text().split()[0]) for each in threads) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/schedstat").exists():
            raise
        return 0.0  # it has ended meanwhile


def family(pid: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for child, parent in processes():
        children.setdefault(parent, []).append(child)
    waiting = [pid]
    while waiting:
        yield (member := waiting.pop())
        waiting += children.get(member, [])
