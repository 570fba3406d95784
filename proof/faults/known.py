"""Questions that the checks ask of a history: when a newer version was known, to whom, and what
became of a write."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from proof.faults.records import (
    Applied,
    AtLeast,
    Begun,
    Closed,
    Ended,
    Entry,
    Fault,
    Initial,
    Nested,
    Read,
    Refused,
    Session,
    Staged,
    Stall,
)
from repocache.keys import bucket_of

NEVER = 2**63
BESIDE = "cluster: promote"
"""An old primary lives on beside the new one, until it is fenced."""
SILENT = ("primary: freeze", "link: silent", "link: deaf")
"""Faults under which connections are open and say nothing."""


@dataclass(slots=True)
class Write:
    """One write's story. `outcome` "unknown" until it is told: the process may have been killed."""

    process: str
    begun: Begun
    versions: dict[int, int] = field(default_factory=dict)
    staged: int = NEVER
    ended: Ended | None = None

    @property
    def outcome(self) -> str:
        return "unknown" if self.ended is None else self.ended.outcome

    @property
    def covered(self) -> bool:
        return self.ended is not None and self.ended.outcome == "committed" and self.ended.covered


class Versions:
    """When versions of rows became known, by rows' names, which are the caller's."""

    def __init__(self, known: Iterable[tuple[Hashable, int, int]]) -> None:
        """`known`: name, version, nanoseconds."""
        grouped: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        for name, version, at in known:
            grouped[name].append((version, at))
        self._versions: dict[Hashable, list[int]] = {}
        self._times: dict[Hashable, list[int]] = {}
        #: As they became known, whatever else was.
        self._exact: dict[Hashable, list[int]] = {}
        for name, versions in grouped.items():
            versions.sort()
            times = [at for _, at in versions]
            self._exact[name] = list(times)
            # They may become known in another order: from the back, the earliest so far.
            for at in range(len(times) - 2, -1, -1):
                times[at] = min(times[at], times[at + 1])
            self._versions[name] = [version for version, _ in versions]
            self._times[name] = times

    def first_newer(self, name: Hashable, version: int) -> int:
        """When the first version above this one was known; NEVER if none was."""
        versions = self._versions.get(name)
        if versions is None:
            return NEVER
        at = bisect_right(versions, version)
        return self._times[name][at] if at < len(versions) else NEVER

    def told(self, name: Hashable, before: int) -> str:
        """The newest version that was known by then, and since when, for a message."""
        known = zip(self._versions.get(name, ()), self._exact.get(name, ()), strict=True)
        there = [(version, at) for version, at in known if at < before]
        return f"{there[-1][0]}, {(before - there[-1][1]) / 1e9:.3f} s before" if there else "none"

    def any(self, name: Hashable, before: int) -> bool:
        """Whether any version was known by then."""
        times = self._times.get(name)
        return times is not None and times[0] < before


class Known:
    """The history, indexed."""

    def __init__(self, history: Iterable[Entry]) -> None:
        history = list(history)
        self.initial = {each.key: each for _, each in history if isinstance(each, Initial)}
        self.reads = [(process, each) for process, each in history if isinstance(each, Read)]
        self._refused = {each.session: each.why for _, each in history if isinstance(each, Refused)}
        self._leaves = {by: each.start for by, each in history if isinstance(each, Closed)}
        self.comparisons = [(by, each) for by, each in history if isinstance(each, AtLeast)]
        self.writes = _writes(history)
        self._parents = {
            each.id: (each.parent, each.at) for _, each in history if isinstance(each, Session)
        }
        self._inner: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self._applied = _applications(history)
        self._silences: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._beside: list[tuple[int, int]] = []
        self._stalls: dict[str, list[Stall]] = defaultdict(list)
        for process, each in history:
            if isinstance(each, Stall):
                self._stalls[process].append(each)
            elif isinstance(each, Nested):
                self._inner[each.outer].append((each.inner, each.at))
            elif isinstance(each, Fault) and each.kind == BESIDE:
                self._beside.append((each.start, each.end))
            elif isinstance(each, Fault) and each.kind in SILENT:
                self._silences[each.target].append((each.start, each.end))

    def lineage(self, session: str, until: int = NEVER) -> Iterable[tuple[str, int]]:
        """The session, those that it goes on from, and those that ended inside any of them, each
        with the time until which what it did belongs to the session as it is at `until`."""
        found: dict[str, int] = {}
        ahead = [(session, until)]
        while ahead:
            name, limit = ahead.pop()
            if not name or found.get(name, -1) >= limit:
                continue
            found[name] = limit
            parent, at = self._parents.get(name, ("", 0))
            ahead.append((parent, min(limit, at)))
            ahead += [(inner, at) for inner, at in self._inner.get(name, ()) if at < limit]
        return found.items()

    def refused(self, session: str) -> str:
        """Why it began without its bookmark; empty if it did not."""
        return self._refused.get(session, "")

    def leaves(self, process: str) -> int:
        """When the process began to leave its database; NEVER if it did not."""
        return self._leaves.get(process, NEVER)

    def beside(self, moment: int) -> bool:
        """Whether an old primary lived on beside the new one then."""
        return any(start <= moment <= end for start, end in self._beside)

    def silences(self, process: str) -> Iterable[tuple[int, int]]:
        """From when to when the primary said nothing to the process."""
        worker = process.partition(".")[0]
        return [*self._silences.get("primary", ()), *self._silences.get(f"{worker}-primary", ())]

    def applied(self, process: str, bucket: int, incarnation: str, seq: int) -> int:
        """When the process had applied this invalidation or a later one of the record; NEVER if it
        has not."""
        seqs, times = self._applied.get((process, bucket, incarnation), ([], []))
        at = bisect_left(seqs, seq)
        return times[at] if at < len(times) else NEVER

    def applications(self) -> Iterable[tuple[Hashable, int, int]]:
        """(process, key), version and when the process had applied the version's invalidation."""
        processes = sorted({process for process, _, _ in self._applied})
        for write in self.writes.values():
            if not write.covered or write.ended is None:
                continue
            for key, version in write.versions.items():
                bucket = bucket_of(f"item:{key}")
                if bucket not in write.ended.wrote:
                    continue
                incarnation, seq = write.ended.wrote[bucket]
                for process in processes:
                    at = self.applied(process, bucket, incarnation, seq)
                    if at < NEVER:
                        yield (process, key), version, at

    def stalled(self, process: str, start: int, end: int) -> int:
        """Nanoseconds in this time for which the process's loop did not turn."""
        overlaps = (min(end, each.end) - max(start, each.start) for each in self._stalls[process])
        return sum(overlap for overlap in overlaps if overlap > 0)


def _writes(history: Iterable[Entry]) -> dict[str, Write]:
    writes: dict[str, Write] = {}
    for process, each in history:
        match each:
            case Begun():
                writes[each.token] = Write(process, each)
            case Staged():
                writes[each.token].versions, writes[each.token].staged = each.versions, each.at
            case Ended():
                writes[each.token].ended = each
            case _:
                pass
    return writes


def _applications(
    history: Iterable[Entry],
) -> dict[tuple[str, int, str], tuple[list[int], list[int]]]:
    """Sequence numbers in their order, each with when it or a later one was applied first."""
    grouped: dict[tuple[str, int, str], list[tuple[int, int]]] = defaultdict(list)
    for process, each in history:
        if isinstance(each, Applied):
            grouped[process, each.bucket, each.incarnation].append((each.seq, each.at))
    indexed = {}
    for name, known in grouped.items():
        known.sort()
        times = [at for _, at in known]
        for at in range(len(times) - 2, -1, -1):
            times[at] = min(times[at], times[at + 1])
        indexed[name] = ([seq for seq, _ in known], times)
    return indexed
