"""Every pattern under one workload: the same table, the same mix of reads and writes.

    python3 dev.py benchmark patterns

One process writes (4 callers with think time, some 80 writes a second), another reads (8 callers,
some 700 reads a second); every fifth call, of reads and of writes, is for one row of 400. Then the
first writes as fast as 16 callers can. A read is stale if what it was shown had been replaced
before it began: the answer to the COMMIT had come to the writer, on the clock that both processes
share; of what is written behind, the answer that it was accepted. Two processes, a primary with
fsync, one replica and Redis share the machine: figures are times those of the plain one in the same
round, and medians. Printed is the table of docs/policies.md; its picture goes to docs/patterns.svg.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from sqlalchemy import text

from benchmarks._growth.pictures import MISSING
from benchmarks._harness import arguments, effort_of, perform
from benchmarks._patterns import picture
from benchmarks._patterns.contestants import PATTERNS
from benchmarks._patterns.process import Reads, Told, Writes
from benchmarks._patterns.results import Outcome, lines, outcome
from benchmarks._shop import fill, plain_engine, servers
from repocache.alembic_ops.ddl import create_write_behind
from repocache.testing import Endpoints

ROWS = 400
LONGEST_LINE = 1 << 26
PICTURE = Path(__file__).parents[1] / "docs" / "patterns.svg"


async def measured(told: Told) -> Outcome:
    """Both processes, begun at one moment."""
    crew = [await started(role, told) for role in ("reader", "writer")]
    for each in crew:
        assert each.stdout is not None
        if await each.stdout.readline() != b"ready\n":
            raise RuntimeError(f"a process of {told.pattern!r} ended before it began")
    for each in crew:
        assert each.stdin is not None
        each.stdin.write(b"go\n")
    answers = [(await each.communicate())[0] for each in crew]
    reads = msgspec.json.decode(answers[0], type=Reads)
    return outcome(reads, msgspec.json.decode(answers[1], type=Writes))


async def started(role: str, told: Told) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks._patterns.process", role),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(told) + b"\n")
    return process


async def make_streams(ends: Endpoints) -> None:
    async with plain_engine(ends) as engine, engine.begin() as connection:
        for each in create_write_behind("public", ()):
            await connection.execute(text(each))


async def benchmark(rounds: int, mixed: float, closed: float) -> Mapping[str, Sequence[Outcome]]:
    found: dict[str, list[Outcome]] = {name: [] for name in PATTERNS}
    with servers(durable=True) as running:
        ends = await fill(running, ROWS)
        await make_streams(ends)
        where = (ends.primary, tuple(ends.replicas), ends.redis)
        for turn in range(rounds):
            for name in list(PATTERNS)[:: 1 if turn % 2 else -1]:
                running.redis.command("FLUSHALL")  # others have written meanwhile
                running.catch_up()
                found[name].append(await measured(Told(name, where, ROWS, mixed, closed)))
            print(f"  round {turn + 1}, load {os.getloadavg()[0]:.1f}", flush=True)
    return found


def main() -> None:
    parser = arguments()
    parser.add_argument("--out", type=Path, help="the picture's file")
    options = parser.parse_args()
    effort = effort_of(options)
    print(f"{effort}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    mixed, closed = (0.6, 0.2) if options.quick else (5.0, 1.5)
    found = perform(benchmark(effort.rounds, mixed, closed), options)
    print("", *lines(found), sep="\n")
    path = options.out or (None if options.quick else PICTURE)
    if path is not None:
        try:
            picture.draw(found, path)
        except ImportError:
            print(MISSING)


if __name__ == "__main__":
    main()
