"""What must never happen, watched from outside: it knows every commit, and what each invalidation
vouches for.

An invalidation that a Redis applied at some moment vouches for the commits of its keys that were
visible then, in its history, at or below its position: whatever is filled later shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from proof.simulation.loop import Loop
from proof.simulation.postgres import Cluster
from proof.simulation.redis import Applied, Redis
from proof.simulation.server import Key, Noted, Transaction
from repocache.engines.server import System
from repocache.keys import owner_bucket
from repocache.nodes.wal import PrimaryIdentity
from repocache.records import NO_POSITIONS, CallerHistory, Change, Receipt
from repocache.records.names import ABSENT
from repocache.tags import tag_owner

LONGEST = 8.0
"""Seconds that L1 may serve what its Redis has invalidated: until a dead connection is known to be
dead."""
FORGOTTEN = 6.0
"""Seconds that caches may serve a commit which the primary has lost."""


def key_of(text: str) -> Key:
    owner, _, id = text.partition(":")
    return owner, int(id)


def told(owner: str) -> str:
    """In an owner's place: a commit's publication was over."""
    return f"told {owner}"


def renewed(bucket: int) -> str:
    """In an owner's place: the record of the bucket was made anew by a change."""
    return f"bucket {bucket}"


def text_of(key: Key) -> str:
    return f"{key[0]}:{key[1]}"


@dataclass
class Heard:
    """What a process was told: key -> the newest version whose invalidation arrived there.

    `own`: key -> what it has committed itself, and when: from then on L1 has nothing older, unless
    it comes from L2.
    """

    versions: dict[Key, int] = field(default_factory=dict)
    own: dict[Key, tuple[int, float]] = field(default_factory=dict)

    def note(self, versions: dict[Key, int]) -> None:
        for key, version in versions.items():
            if version > self.versions.get(key, 0):
                self.versions[key] = version

    def told(self, names: Iterable[str], id: int) -> int:
        """The newest version of a row that was told under one of these names."""
        return max(self.versions.get((name, id), 0) for name in names)

    def need(self, key: Key) -> int:
        """The newest version of the key that L1 must not be older than."""
        return max(self.versions.get(key, 0), self.own.get(key, (0, 0.0))[0])

    def need_of_load(self, key: Key, began: float) -> int:
        """The same of a load that began then. An own commit before it binds no load, as in
        `loaded`: a Redis that was away has not heard of it, and a replica may lack it for a
        window."""
        version, moment = self.own.get(key, (0, 0.0))
        return max(self.versions.get(key, 0), version if moment > began else 0)

    def leave(self, keys: Iterable[Key]) -> None:
        """The Redis that told of these last: the next one does not know it."""
        for key in keys:
            self.versions.pop(key, None)

    def wrote(self, versions: dict[Key, int], now: float) -> None:
        self.own.update((key, (version, now)) for key, version in versions.items())

    def loaded(self, key: Key, began: float) -> None:
        """L1 may have what a load brought that began then."""
        if key in self.own and self.own[key][1] <= began:
            del self.own[key]


class Oracle:
    """`violations`: what was found, in words. `astray`: keys whose last invalidation only a deposed
    Redis has heard. `parted`: histories of primaries that were replaced while they lived: what is
    filled there is read there."""

    def __init__(self, loop: Loop, cluster: Cluster) -> None:
        self.violations: list[str] = []
        self.astray: set[Key] = set()
        self._loop = loop
        self._cluster = cluster
        self._lines: dict[str, int] = {}
        self._foreign: set[str] = set()
        self.parted: set[str] = set()
        self._applied: dict[int, dict[Key, int]] = {}
        self._delivered: dict[Key, int] = {}
        self._told: set[int] = set()
        self._meant: dict[tuple[str, int], dict[Key, int]] = {}
        self._when: dict[Key, list[tuple[float, int]]] = {}
        self._keys: dict[str, list[Key]] = {}
        for key in cluster.by_key:
            self._keys.setdefault(key[0], []).append(key)
        self.new_line()

    def new_line(self) -> None:
        """The primary is about to write, or writes, another history."""
        primary = self._cluster.primary
        identity = PrimaryIdentity(System("7", 5), primary.timeline, *primary.process)
        self._lines[identity.history] = self._cluster.line
        self.newest = identity.history

    def parts(self) -> None:
        """The primary is about to be replaced, and lives on. A process may not have noticed yet
        that its server has begun a later history of its timeline."""
        timeline, _, _ = self.newest.rpartition(".")
        self.parted.update(each for each in self._lines if each.startswith(f"{timeline}."))

    def leaves_to(self, other: Oracle) -> None:
        """What is filled in the other's histories is no matter of this one."""
        self._foreign.update(other._lines)

    def blame(self, what: str) -> None:
        self.violations.append(f"at {self._loop.now:.4f} s: {what}")

    # What Redis tells.

    def changed(self, redis: Redis, done: Applied, terms: CallerHistory, receipt: Receipt) -> None:
        """A value that landed vouches for itself only: a later one may be committed, its
        invalidation on its way."""
        keys = self._named(done.change)
        line, until = terms.history, done.change.position
        vouched = {key: self._vouched(key, line, until) for key in sorted(keys)}
        for name, owner in self._named_tags(done.change):
            for key in self._keys[owner]:
                vouched[name, key[1]] = self._vouched(key, line, until)
        for text, value in done.landed.items():
            key = key_of(text)
            vouched[key] = min(vouched[key], version_in(value) or 0)
        self._note(redis, vouched)
        self._meant[receipt.incarnation, receipt.seq] = vouched

    def published(self, redis: Redis, versions: Mapping[Key, int]) -> dict[Key, int]:
        """A commit told all that it had to tell, to a master: what is cached of selects has its
        change from then on, where that was heard. As the names of `told`: up to the version of
        each row of which this is so of all commits before it."""
        self._told.update(versions.values())
        applied, whole = self._applied.setdefault(id(redis), {}), {}
        for key in versions:
            owner, number = key
            least = applied.get((tag_owner("public", owner).prefix, number), 0)
            until = applied.get((told(owner), number), 0)
            for version in (each.rows[key][0] for each in self._cluster.by_key[key]):
                if version > max(least, until) and version not in self._told:
                    break
                until = max(until, version)
            whole[told(owner), number] = until
        self._note(redis, whole)
        return whole

    def untold(self, key: Key) -> list[int]:
        """Versions of a row whose commits have not told all, to a master, what is cached of
        selects. A later one that is told says nothing for them: it tells its own change alone."""
        versions = (each.rows[key][0] for each in self._cluster.by_key[key])
        return [each for each in versions if each not in self._told]

    def told_until(self, key: Key) -> int:
        """Up to which version all commits of the row have told what is cached of selects: a session
        that wrote it after one that has not may be given an answer of before both."""
        until = 0
        for version in (each.rows[key][0] for each in self._cluster.by_key[key]):
            if version not in self._told:
                break
            until = version
        return until

    def cached_selects(self, redis: Redis) -> dict[Key, int]:
        """What a process that has nothing of its own yet is held to, by the names of tags."""
        applied = self._applied.get(id(redis), {})
        return {
            name: version
            for name, version in applied.items()
            if name[0] not in self._keys and name not in self.astray
        }

    def _note(self, redis: Redis, vouched: Mapping[Key, int]) -> None:
        applied = self._applied.setdefault(id(redis), {})
        if redis.deposed:
            self.astray.update(vouched)
        else:
            self.astray.difference_update(vouched)
        for key, version in vouched.items():
            if version > applied.get(key, 0):
                applied[key] = version
                self._when.setdefault(key, []).append((self._loop.now, version))
            self._delivered[key] = max(version, self._delivered.get(key, 0))

    def _named(self, change: Change) -> set[Key]:
        """A record made anew speaks for all that lies under it, and an owner's for the owner: so
        is told of owners whom the process that tells it does not have."""
        keys = {key_of(text) for owner, text in change.keys if owner in self._keys}
        for owner, owned in self._keys.items():
            anew = change.position is None and owner_bucket(owner) == change.bucket
            if owner in change.owners or anew:
                keys.update(owned)
        return keys

    def _named_tags(self, change: Change) -> list[tuple[str, str]]:
        """Tags, owners of tags as a whole, and the record, if it is made anew; each with the owner
        of the rows."""
        owners = {tag_owner("public", owner).prefix: owner for owner in self._keys}
        named = [(text, owners[owner]) for owner, text in change.keys if owner in owners]
        for prefix, owner in owners.items():
            anew = change.position is None and owner_bucket(prefix) == change.bucket
            if prefix in change.owners or anew:
                named.append((prefix, owner))
            if change.position is None:
                named.append((renewed(change.bucket), owner))
        return named

    def _vouched(self, key: Key, history: str, position: int | None) -> int:
        """Without a position a new record is made, which vouches for all that is visible, of
        whatever history."""
        line = self._cluster.line if position is None else self._lines.get(history, -1)
        for transaction in reversed(self._cluster.by_key[key]):
            within = position in (None, NO_POSITIONS) or transaction.lsn <= position
            if transaction.state == "visible" and transaction.line <= line and within:
                return transaction.rows[key][0]
        return 0

    def landed(self, redis: Redis, text: str, value: bytes, terms: CallerHistory) -> None:
        if terms.history in self._foreign or terms.history in self.parted:
            return
        if text.partition(":")[0] not in self._keys:
            return
        key = key_of(text)
        need = self.applied(redis, key)
        self._judge(key, version_in(value), need, lambda: f"L2 was given {value!r}")

    def applied(self, redis: Redis, key: Key) -> int:
        """The newest version of the key that an invalidation vouched for there."""
        return self._applied.get(id(redis), {}).get(key, 0)

    def left(self, note: Noted) -> None:
        """A row has left the outbox."""
        for key, version in note.owes.items():
            if (
                self._cluster.by_version[version].state == "visible"
                and self.delivered(key) < version
            ):
                self.blame(
                    f"the row of {text_of(key)} at {version} left the outbox before it was "
                    "invalidated"
                )

    def delivered(self, key: Key) -> int:
        """The newest version of the key that an invalidation vouched for anywhere."""
        return self._delivered.get(key, 0)

    def inherits(self, new: Redis, old: Redis) -> None:
        """A Redis that goes on with another's data has also what was applied there: its records are
        made anew."""
        applied = self._applied.setdefault(id(new), {})
        for key, version in self._applied.get(id(old), {}).items():
            applied[key] = max(version, applied.get(key, 0))

    def disclaims(self, redis: Redis) -> None:
        """It is no master any more: what it still says is nobody's promise, until its clients leave
        it."""
        self._applied[id(redis)] = {}

    # What processes tell.

    def meant(self, incarnation: str, seq: int) -> dict[Key, int]:
        """What a message vouches for."""
        return self._meant.get((incarnation, seq), {})

    def served_near(self, name: str, key: Key, version: int | None, heard: Heard) -> None:
        """A hit in L1."""
        self._judge(key, version, heard.need(key), lambda: f"L1 of {name} served {version}")
        then, moments = self._loop.now - LONGEST, self._when.get(key, ())
        old = max((vouched for moment, vouched in moments if moment < then), default=0)
        self._judge(key, version, old, lambda: f"L1 of {name} served {version}, {LONGEST} s late")

    def served_joined(self, name: str, key: Key, version: int | None, need: int) -> None:
        """What another's load brought. `need`: what was applied in the process before this caller
        came."""
        self._judge(key, version, need, lambda: f"{name} served {version} by another's load")

    def served_far(self, name: str, key: Key, version: int | None, need: int) -> None:
        """A hit in L2. `need`: what was applied there before the read began."""
        self._judge(key, version, need, lambda: f"{name} served {version} from L2")

    def served_lagging(self, name: str, key: Key, version: int | None, moment: float) -> None:
        """What a replica in the rotation gave. `moment`: what the primary showed then it has."""
        shown = (each for each in reversed(self._cluster.by_key[key]) if each.state == "visible")
        need = next((each.rows[key][0] for each in shown if each.shown <= moment), 0)
        self._judge(
            key, version, need, lambda: f"a replica of {name} beyond its lag served {version}"
        )

    def served(self, session: str, key: Key, version: int | None, need: int) -> None:
        """Whatever a session got. `need`: the version that it had written or seen."""
        self._judge(key, version, need, lambda: f"{session} got {version}")
        transaction = self._cluster.by_version.get(version or 0)
        if transaction is not None and transaction.state in ("open", "aborted"):
            self.blame(
                f"{session} got {text_of(key)} version {version}, which is {transaction.state}"
            )

    def _judge(self, key: Key, version: int | None, need: int, what: Callable[[], str]) -> None:
        transaction = self._cluster.by_version.get(version or 0)
        if (
            transaction is not None
            and transaction.state == "lost"
            and self._loop.now - transaction.ended > FORGOTTEN
        ):
            self.blame(f"{what()} of {text_of(key)}, whose commit was lost {FORGOTTEN} s ago")
        if version is not None and self._worth(version) >= need:
            return
        need = self.surviving(key, need)
        if (self.last_gone(key) if version is None else self._worth(version)) < need:
            self.blame(f"{what()} of {text_of(key)}, which has {need}")

    def keys_of(self, owner: str) -> list[Key]:
        return self._keys.get(owner, [])

    def lacks(self, key: Key, need: int, answers: Callable[[int, bool], bool]) -> bool:
        """Whether no version of the key as new as `need` would be answered so. `answers`: of a
        version, and whether the row is there then."""
        least = self.surviving(key, need)
        states = [
            (0, True),
            *(
                each.rows[key]
                for each in [*self._cluster.by_key[key], *self._cluster.lost, *self._cluster.astray]
                if key in each.rows
            ),
        ]
        return not any(self._worth(v) >= least and answers(v, there) for v, there in states)

    def surviving(self, key: Key, version: int) -> int:
        """The version, or if its commit was lost the newest before it that was not.

        One that replicas show already and the primary does not yet counts as lost: a session that
        has seen it there may go back once, to the primary.
        """
        transaction = self._cluster.by_version.get(version)
        shown = (
            transaction is not None and transaction.state == "visible" and not transaction.veiled
        )
        if transaction is None or (shown and transaction.branch is None):
            return version
        bound = version if transaction.branch is None else min(version, transaction.branch + 1)
        visible = (each for each in reversed(self._cluster.by_key[key]) if each.state == "visible")
        return next((each.rows[key][0] for each in visible if each.rows[key][0] < bound), 0)

    def _worth(self, version: int) -> int:
        """The version, or of a commit beside the primary's line, up to which version of that line
        it is not older."""
        transaction = self._cluster.by_version.get(version)
        branch = None if transaction is None else transaction.branch
        return version if branch is None else min(version, branch)

    def last_gone(self, key: Key) -> int:
        """The newest version that says: there is no such row."""
        return max((self._worth(each.rows[key][0]) for each in self._gone(key)), default=-1)

    def _gone(self, key: Key) -> Iterable[Transaction]:
        cluster = self._cluster
        return (
            each
            for each in [*cluster.by_key[key], *cluster.lost, *cluster.astray]
            if _is_gone(each, key)
        )


def _is_gone(transaction: Transaction, key: Key) -> bool:
    return key in transaction.rows and not transaction.rows[key][1]


def version_in(value: bytes) -> int | None:
    """The version in a value of Redis, None: there is no such row."""
    return None if value == ABSENT else int(value[1:].split()[0])
