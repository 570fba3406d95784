"""Whether everything came to an end in time.

Reads while the primary says nothing, and leaving the database.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from proof.faults.known import NEVER, Known
from proof.faults.promise import TRANSACTIONS, Bounds
from proof.faults.records import AtLeast, Closed, Ended, Entry, Failed, Read
from proof.faults.verdict import Violation

Call = tuple[str, str, str, int, int]
"""Process, caller, how, start and end of a read."""


def hangs(
    history: Sequence[Entry],
    known: Known,
    bounds: Bounds,
    checked: Counter[str],
) -> Iterator[Violation]:
    """What took too long. `checked` is counted up."""
    for process, caller, how, start, end in _calls(history):
        for since, until in known.silences(process):
            if start < until and end > since:
                checked["hang"] += 1
                begun = max(start, since)
                late = (end - begun - known.stalled(process, begun, end)) / 1e9
                if late > bounds.read:
                    what = f"{how} by {caller} took {late:.1f} s of a silent primary"
                    yield Violation("hang", process, what, start)
                    break
    for process, each in history:
        if isinstance(each, Closed):
            checked["hang"] += 1
            late = (each.end - each.start - known.stalled(process, each.start, each.end)) / 1e9
            if late > bounds.leave or each.why == "Hang":
                what = f"leaving the database took {late:.1f} s"
                yield Violation("hang", process, what, each.start)
        elif isinstance(each, Ended | Failed) and each.why == "Hang":
            what = each.how if isinstance(each, Failed) else each.token
            yield Violation("hang", process, f"{what} did not end", min(each.end, NEVER))


def _calls(history: Sequence[Entry]) -> Iterator[Call]:
    """Each read once, however many rows it showed; those that were given up are told as "Hang"."""
    told: set[Call] = set()
    for process, each in history:
        if not isinstance(each, Read | AtLeast | Failed) or each.how in TRANSACTIONS:
            continue
        if isinstance(each, Failed) and each.why == "Hang":
            continue
        call = (process, each.caller, each.how, each.start, each.end)
        if call not in told:
            told.add(call)
            yield call
