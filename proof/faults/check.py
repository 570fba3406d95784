"""Judges a history: a pure function from what was told to what was broken (docs/faults.md has the
promises)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from proof.faults.known import NEVER, Known, Versions, Write
from proof.faults.liveness import hangs
from proof.faults.promise import (
    EXCUSED,
    FORBIDDEN,
    OUTSIDE,
    READ_ERRORS,
    TRANSACTIONS,
    WRITE_ERRORS,
    Bounds,
)
from proof.faults.records import AtLeast, Closed, Counted, Ended, Ending, Entry, Failed, Read
from proof.faults.verdict import Verdict, Violation

STRICT = ("l2", "filled")
"""Ways that show every commit whose invalidation was acknowledged before the read began."""
BY_ID = ("get", "get_many")
LEFT = "NotStarted"
"""What a call is told that comes as its process leaves the database."""
HEARD = ("l1", "joined")
"""Ways that show what this process has been told."""
LIST = "list"
"""A way that is no older than those."""


def check(history: Sequence[Entry], bounds: Bounds, monotonic: Iterable[str]) -> Verdict:
    """`monotonic`: processes whose sessions read monotonically, by how their names begin."""
    court = _Court(history, bounds, tuple(f"{name}." for name in monotonic))
    violations = sorted(court.judge(), key=lambda violation: violation.at)
    return Verdict(tuple(violations), dict(court.checked), court.latest / 1e9)


class _Court:
    def __init__(
        self, history: Sequence[Entry], bounds: Bounds, monotonic: tuple[str, ...]
    ) -> None:
        self.checked: Counter[str] = Counter()
        self.latest = 0
        self._history = history
        self._bounds = bounds
        self._monotonic = monotonic
        self._known = known = Known(history)
        done = [write for write in known.writes.values() if write.outcome == "committed"]
        self._acknowledged = Versions(
            _ends(write, key) for write in done if write.covered for key in write.versions
        )
        ours = [write for write in done if write.begun.how != "outside"]
        self._committed = Versions(_ends(write, key) for write in ours for key in write.versions)
        self._by_process = Versions(
            ((write.process, key), *_ends(write, key)[1:])
            for write in done
            if write.covered
            for key in write.versions
        )
        self._by_session = Versions(
            ((write.begun.session, key), *_ends(write, key)[1:])
            for write in done
            for key in write.versions
        )
        self._seen = Versions(
            ((read.session, read.key), version, read.end)
            for process, read, version in _shown(known)
            if read.session and process.startswith(monotonic)
        )
        self._applied = Versions(known.applications())

    def judge(self) -> Iterator[Violation]:
        for process, read in self._known.reads:
            yield from self._session(process, read, read.version)
            yield from self._cached(process, read)
            yield from self._written(process, read)
        for process, compared in self._known.comparisons:
            if not compared.holds:
                yield from self._session(process, compared, compared.least - 1)
        yield from self._updates()
        yield from self._errors()
        yield from hangs(self._history, self._known, self._bounds, self.checked)
        yield from self._endings()

    def _session(self, process: str, read: Read | AtLeast, version: int) -> Iterator[Violation]:
        """Own writes in every session, and what was seen in those that read monotonically.
        `version`: the newest that the read can have met."""
        for session, limit in self._known.lineage(read.session, read.start):
            name = (session, read.key)
            if self._by_session.any(name, limit):
                self.checked["own write"] += 1
                if self._by_session.first_newer(name, version) < limit:
                    newest = self._by_session.told(name, limit)
                    why = f"session {session} had committed a newer one ({newest})"
                    yield _violation("own write", process, read, why + self._begun(read.session))
            if process.startswith(self._monotonic) and self._seen.any(name, limit):
                self.checked["monotonic"] += 1
                if self._seen.first_newer(name, version) < limit:
                    newest = self._seen.told(name, limit)
                    why = f"session {session} had seen a newer one ({newest})"
                    yield _violation("monotonic", process, read, why + self._begun(read.session))

    def _begun(self, session: str) -> str:
        """What may explain it."""
        lineage = (name for name, _ in self._known.lineage(session))
        return "".join(
            f"; {name}'s bookmark was refused: {self._known.refused(name)}"
            for name in lineage
            if self._known.refused(name)
        )

    def _cached(self, process: str, read: Read) -> Iterator[Violation]:
        newer = self._acknowledged.first_newer(read.key, read.version)
        if read.via in STRICT:
            self.checked["stale fill"] += 1
            if newer < read.start:
                late = (read.start - newer) / 1e9
                yield _violation(
                    "stale fill", process, read, f"a newer one was acknowledged {late:.3f} s before"
                )
        # What asks no record is as good as the primary that its process finds.
        astray = read.via == "past" and self._known.beside(read.start)
        if self._bounds.strict and read.how in BY_ID and not astray:
            self.checked["strict"] += 1
            if self._committed.first_newer(read.key, read.version) < read.start:
                yield _violation("strict", process, read, "a newer one had been committed")
        if read.via in (*HEARD, LIST):
            yield from self._late(process, read, newer)
        if read.via in HEARD:
            yield from self._heard(process, read)

    def _late(self, process: str, read: Read, newer: int) -> Iterator[Violation]:
        """`newer`: when a newer version was acknowledged."""
        self.checked["late"] += 1
        late = read.start - newer
        late -= self._known.stalled(process, newer, read.start) if late > 0 else 0
        if late > 0:
            self.latest = max(self.latest, late)
        if late > self._bounds.local * 1e9:
            yield _violation(
                "late", process, read, f"a newer one was acknowledged {late / 1e9:.3f} s before"
            )

    def _heard(self, process: str, read: Read) -> Iterator[Violation]:
        name = (process, read.key)
        for promise, versions in (("applied", self._applied), ("own process", self._by_process)):
            if versions.any(name, read.start):
                self.checked[promise] += 1
                if versions.first_newer(name, read.version) < read.start:
                    yield _violation(promise, process, read, "this process knew of a newer one")

    def _written(self, process: str, read: Read) -> Iterator[Violation]:
        """Whether somebody has committed this, or may have."""
        self.checked.update(("unreadable", "uncommitted", "rolled back"))
        first = self._known.initial.get(read.key)
        if first is not None and (first.version, first.token) == (read.version, read.token):
            return
        write = self._known.writes.get(read.token)
        if write is None or write.versions.get(read.key) != read.version:
            yield _violation("unreadable", process, read, "nobody wrote it")
        elif write.outcome == "rolled back":
            yield _violation("rolled back", process, read, "its transaction was rolled back")
        elif read.end < write.staged:
            yield _violation(
                "uncommitted", process, read, "nobody had told its transaction to commit"
            )

    def _updates(self) -> Iterator[Violation]:
        """Of two writes of one row one is the later: no version is written twice."""
        writers: defaultdict[tuple[int, int], list[Write]] = defaultdict(list)
        for write in self._known.writes.values():
            if write.outcome == "committed":
                for row in write.versions.items():
                    writers[row].append(write)
        self.checked["lost update"] += len(writers)
        for (key, version), found in writers.items():
            if len(found) > 1:
                tokens = ", ".join(write.begun.token for write in found)
                yield Violation(
                    "lost update", found[0].process, f"key {key} version {version} by {tokens}", 0
                )

    def _errors(self) -> Iterator[Violation]:
        for process, each in self._history:
            if isinstance(each, Counted):
                self.checked["error"] += 1
                for event, times in each.events.items():
                    if event.partition("(")[0] in FORBIDDEN and event not in EXCUSED:
                        yield Violation("error", process, f"told of {event}, {times} times", NEVER)
            elif isinstance(each, Closed) and each.why not in ("", "Hang"):
                yield Violation("error", process, f"leaving the database: {each.why}", each.end)
            elif isinstance(each, Failed | Ended) and each.why not in ("", "Hang"):
                self.checked["error"] += 1
                kind = each.why.partition("(")[0]
                over = kind == LEFT and self._known.leaves(process) < each.end
                if kind not in (*_documented(each), *OUTSIDE) and not over:
                    what = each.how if isinstance(each, Failed) else each.token
                    yield Violation("error", process, f"{what}: {each.why}: {each.text}", each.end)

    def _endings(self) -> Iterator[Violation]:
        """Every cache and copy equals the primary, which has all that was acknowledged."""
        unsettled = set() if self._bounds.settled else self._unsettled()
        for process, each in self._history:
            if not isinstance(each, Ending):
                continue
            if each.key not in unsettled:
                promise = "feed" if each.tier == "feed" else "ending"
                self.checked[promise] += 1
                if each.version != each.truth:
                    what = (
                        f"{each.tier} has {each.version} of key {each.key}, the primary "
                        f"{each.truth}"
                    )
                    yield Violation(promise, process, f"{what}, {each.seconds} s later", NEVER)
            if self._acknowledged.first_newer(each.key, each.truth) < NEVER:
                yield Violation(
                    "ending", process, f"the primary has lost a commit of key {each.key}", NEVER
                )

    def _unsettled(self) -> set[int]:
        """Keys whose last commit may be one that its process did not live to publish."""
        lost: dict[int, int] = {}
        best: dict[int, int] = defaultdict(int)
        for write in self._known.writes.values():
            for key, version in write.versions.items():
                if write.ended is None:
                    lost[key] = max(lost.get(key, 0), version)
                if write.covered:
                    best[key] = max(best[key], version)
        return {key for key, version in lost.items() if version > best[key]}


def _ends(write: Write, key: int) -> tuple[int, int, int]:
    assert write.ended is not None
    return key, write.versions[key], write.ended.end


def _shown(known: Known) -> Iterator[tuple[str, Read | AtLeast, int]]:
    """Reads with the version that each has shown, at least."""
    for process, read in known.reads:
        yield process, read, read.version
    for process, compared in known.comparisons:
        if compared.holds:
            yield process, compared, compared.least


def _documented(each: Failed | Ended) -> tuple[str, ...]:
    if isinstance(each, Failed) and each.how not in TRANSACTIONS:
        return READ_ERRORS
    return WRITE_ERRORS


def _violation(promise: str, process: str, read: Read | AtLeast, why: str) -> Violation:
    where = f"{read.how} by {read.caller} in {read.session or 'no session'}"
    if isinstance(read, AtLeast):
        what = f"key {read.key}: less than {read.least} ({where}): {why}"
    else:
        way = f"via {read.via} {read.node}"
        what = f"key {read.key}: version {read.version} ({where}, {way}): {why}"
    return Violation(promise, process, what, read.start)
