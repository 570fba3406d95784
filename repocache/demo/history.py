"""What a recorded history shows: own writes missed, stale reads, cached values older than an
applied invalidation.

Pure. Versions of a row grow by one with each commit, in the order of the row's lock, so "older" is
a lower version.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from repocache.demo.records import ALL, Applied, Commit, DemoRead, Dropped, Told
from repocache.keys import bucket_of

NEVER = 1 << 63
CACHES = ("l1", "l2")

Entry = tuple[str, Told]
"""The name of the process that told it, and what it told."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What the three rules found. Times in nanoseconds.

    `own_reads`: reads of rows that their own session had written, `missed` those that returned an
    older version. `stale`: each read that began after a newer version had been acknowledged, to
    anybody, and for how long it had been. `guarded`: cached reads of rows of which the process had
    applied an invalidation, `outdated` those that returned a version which an applied invalidation
    had declared old.
    """

    own_reads: int
    missed: tuple[DemoRead, ...]
    stale: tuple[tuple[DemoRead, int], ...]
    guarded: int
    outdated: tuple[DemoRead, ...]


def examine(history: Sequence[Entry], owner: str) -> Findings:
    """Judge a history, its entries in any order. `owner`: prefix of the keys' texts, of which
    buckets are made.

    Own write missed: the session's commit of a newer version had returned before the read began.

    Stale: anybody's had. Between two sessions that do not know each other this is what caching
    means; how old is told.

    Outdated: a read of tier L1 or L2 in process P returned version x of a row, though
    1. commit() of a version v > x returned, its invalidation published, at time a;
    2. P applied an invalidation of that row (a message, a commit of its own, or the loss of the
       row's whole bucket) at time b > a;
    3. the read began after b.
    No false alarm: which of several commits the message at b spoke of is not recorded and does not
    matter. Redis had taken v's invalidation before a, so its own tier held nothing older from then
    on; P's tier held nothing from before b, and whatever entered it later was asked of Redis after
    b. A commit whose publication failed proves nothing here. And it does detect: a process that
    ignores its messages, or a fill from a lagging replica that lands after the invalidation, is
    read back within the same second by other callers of a popular row.
    """
    commits = [(process, told) for process, told in history if isinstance(told, Commit)]
    everybody = Acknowledged((each.key, each) for _, each in commits)
    own = Acknowledged(((each.session, each.key), each) for _, each in commits)
    published = Acknowledged((each.key, each) for _, each in commits if each.published)
    invalidations = Invalidations(history, owner)
    own_reads, guarded = 0, 0
    missed: list[DemoRead] = []
    outdated: list[DemoRead] = []
    stale: list[tuple[DemoRead, int]] = []
    for process, read in history:
        if not isinstance(read, DemoRead):
            continue
        if own.first_newer((read.session, read.key), -1) < read.start:
            own_reads += 1
            if own.first_newer((read.session, read.key), read.version) < read.start:
                missed.append(read)
        newer = everybody.first_newer(read.key, read.version)
        if newer < read.start:
            stale.append((read, read.start - newer))
        applied = invalidations.last_before(process, read.key, read.start)
        if read.tier in CACHES and applied >= 0:
            guarded += 1
            if published.first_newer(read.key, read.version) < applied:
                outdated.append(read)
    return Findings(own_reads, tuple(missed), tuple(stale), guarded, tuple(outdated))


class Acknowledged:
    """When commits of a row returned, by version. The rows' names are the caller's."""

    def __init__(self, commits: Iterable[tuple[Hashable, Commit]]) -> None:
        grouped: dict[Hashable, list[tuple[int, int]]] = defaultdict(list)
        for name, commit in commits:
            grouped[name].append((commit.version, commit.end))
        self._versions: dict[Hashable, list[int]] = {}
        self._ends: dict[Hashable, list[int]] = {}
        for name, known in grouped.items():
            known.sort()
            self._versions[name] = [version for version, _ in known]
            ends = [end for _, end in known]
            # Two writers may be answered in the other order: from the back, the earliest answer so
            # far.
            for at in range(len(ends) - 2, -1, -1):
                ends[at] = min(ends[at], ends[at + 1])
            self._ends[name] = ends

    def first_newer(self, name: Hashable, version: int) -> int:
        """When the first commit of a version above this one had returned; NEVER if none has."""
        versions = self._versions.get(name, [])
        at = bisect_right(versions, version)
        return self._ends[name][at] if at < len(versions) else NEVER


class Invalidations:
    """When each process applied invalidations of a row."""

    def __init__(self, history: Iterable[Entry], owner: str) -> None:
        self._owner = owner
        self._times: dict[tuple[str, str | int], list[int]] = defaultdict(list)
        for process, told in history:
            match told:
                case Applied(keys, at):
                    for key in keys:
                        self._times[process, key].append(at)
                case Dropped(bucket, at):
                    self._times[process, bucket].append(at)
                case Commit(key=key, end=end):
                    # It applied its own before commit() returned.
                    self._times[process, key].append(end + 1)
        for times in self._times.values():
            times.sort()

    def last_before(self, process: str, key: str, moment: int) -> int:
        """The last time before the moment; -1 if there is none."""
        names: tuple[str | int, ...] = (key, bucket_of(f"{self._owner}:{key}"), ALL)
        found = -1
        for name in names:
            times = self._times.get((process, name), [])
            at = bisect_left(times, moment)
            if at:
                found = max(found, times[at - 1])
        return found
