"""A history in Jepsen's EDN, as transactions on registers, for elle-cli (docs/faults.md says how to
feed it).

Every caller is a process of its own, and a new one after each outcome that is not known, as Jepsen
wants it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from proof.faults.known import NEVER, Known, Write
from proof.faults.records import Entry, Read

APART = 1000
"""A register's value is its row's version times this, and a little more where several writes tried
the same version: elle wants to know every write by its value."""
KINDS = {"committed": "ok", "rolled back": "fail", "unknown": "info"}


@dataclass(frozen=True, slots=True)
class _Call:
    """`kind`: how it ended: "ok", "fail" or "info". `value`: what it did, as far as it is known."""

    caller: str
    kind: str
    invoked: str
    value: str
    start: int
    end: int


def as_edn(history: Iterable[Entry]) -> str:
    """One operation a line, in the order of time, after one that writes what was there before."""
    known = Known(history)
    values = _Values(known)
    calls = [*_initial(known), *_reads(known, values)]
    calls += [_written(write, values) for write in known.writes.values() if write.begun.caller]
    fresh = count()
    processes: dict[str, int] = {}
    steps: list[tuple[int, int, str]] = []
    for call in sorted(calls, key=lambda call: call.start):
        if call.caller not in processes:
            processes[call.caller] = next(fresh)
        process = processes[call.caller]
        steps.append((call.start, process, f":type :invoke, :f :txn, :value {call.invoked}"))
        if call.end < NEVER:
            steps.append((call.end, process, f":type :{call.kind}, :f :txn, :value {call.value}"))
        if call.kind == "info":
            del processes[call.caller]
    steps.sort()
    return "".join(
        f"{{:index {index}, :time {at}, :process {process}, {what}}}\n"
        for index, (at, process, what) in enumerate(steps)
    )


class _Values:
    """Which value stands for which write of a row."""

    def __init__(self, known: Known) -> None:
        self._values: dict[tuple[int, str], int] = {}
        self._before: dict[tuple[int, int], int] = {}
        tried: defaultdict[tuple[int, int], list[Write]] = defaultdict(list)
        for key, first in known.initial.items():
            self._values[key, first.token] = self._before[key, first.version] = (
                first.version * APART
            )
        for write in known.writes.values():
            for row in write.versions.items():
                tried[row].append(write)
        for (key, version), writes in tried.items():
            for number, write in enumerate(writes):
                self._values[key, write.begun.token] = version * APART + number
            standing = [write for write in writes if write.outcome == "committed"]
            standing = standing or [write for write in writes if write.outcome == "unknown"]
            if len(standing) == 1:
                self._before[key, version] = self._values[key, standing[0].begun.token]

    def of(self, key: int, token: str) -> int:
        """That of a write; 0 for one that nobody told of, which elle will call out."""
        return self._values.get((key, token), 0)

    def replaced(self, key: int, version: int) -> str:
        """As it was read under the lock by who wrote `version`; nil if that is not known."""
        return str(self._before.get((key, version - 1), "nil"))


def _initial(known: Known) -> Iterator[_Call]:
    written = " ".join(
        f"[:w {key} {first.version * APART}]" for key, first in sorted(known.initial.items())
    )
    if written:
        yield _Call("", "ok", f"[{written}]", f"[{written}]", 0, 1)


def _reads(known: Known, values: _Values) -> Iterator[_Call]:
    """What was read together is one transaction."""
    grouped: defaultdict[tuple[str, int], list[Read]] = defaultdict(list)
    for _, read in known.reads:
        grouped[read.caller, read.start].append(read)
    for (caller, start), reads in grouped.items():
        invoked = " ".join(f"[:r {read.key} nil]" for read in reads)
        value = " ".join(f"[:r {read.key} {values.of(read.key, read.token)}]" for read in reads)
        yield _Call(caller, "ok", f"[{invoked}]", f"[{value}]", start, reads[0].end)


def _written(write: Write, values: _Values) -> _Call:
    """Every write reads the version that it replaces, under its lock."""
    kind = KINDS[write.outcome] if write.versions else "fail"
    rows = [
        (key, version, values.of(key, write.begun.token))
        for key, version in sorted(write.versions.items())
    ]
    invoked = " ".join(f"[:r {key} nil] [:w {key} {value}]" for key, _, value in rows)
    done = " ".join(
        f"[:r {key} {values.replaced(key, version)}] [:w {key} {value}]"
        for key, version, value in rows
    )
    end = NEVER if write.ended is None else write.ended.end
    return _Call(write.begun.caller, kind, f"[{invoked}]", f"[{done}]", write.begun.start, end)
