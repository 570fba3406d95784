"""What polls see, and what may be concluded from it: histories, lag, and which position a replica
may vouch for.

Owns decisions only, all plain functions of values. Polling is `probe`'s, choosing a node
`selection`'s.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from repocache.engines.server import Process, System
from repocache.events import Out

TRAIL = 1024
"""How many distinct positions of the primary are remembered; at four polls a second, four minutes
and more."""


class PrimaryIdentity(NamedTuple):
    """Which line of WAL a primary writes, and which server process writes it.

    `timeline`: of the WAL being written. `started`: when the server process began, Unix time in
    microseconds. `recovered`: when the server last threw its statistics away, in the same unit: it
    does so after each crash, also one of a backend that the server process survives, on which
    `started` stays.
    """

    system: System
    timeline: int
    started: int
    recovered: int

    @property
    def history(self) -> str:
        """The history's text (protocol, Words): cluster, timeline, and a digest of the server
        process. Databases of one cluster share it, as they share its WAL.

        A restart of the primary makes a new history too, the conservative form of the protocol's
        assumption about crashes that lose visible asynchronous commits (what broke earlier drafts,
        15); two servers that were promoted with one system identifier and timeline differ in
        `started` (16). The server's address is left out: processes that reach one primary by
        different addresses must agree.
        """
        process = hashlib.blake2b(
            f"{self.started}.{self.recovered}".encode(), digest_size=6
        ).hexdigest()
        return f"{self.system.cluster}.{self.timeline}.{process}"


class PrimaryPosition(NamedTuple):
    """Where the primary's WAL stood at some moment after it was asked for (protocol, Write path 4).

    `flush`: covers every commit that was synchronous. `insert`: covers every commit, but replicas
    may be long in reaching it. Both are WAL positions in bytes.
    """

    history: str
    flush: int
    insert: int


class WalReceiver(NamedTuple):
    """One WAL receiver process of one life of a server."""

    process: Process
    pid: int


@dataclass(frozen=True, slots=True)
class ReplicaReading:
    """What one poll saw of a replica."""

    in_recovery: bool
    #: What it has replayed, bytes; read before the receiver was looked at.
    position: int
    #: The most that it can have shown by then, bytes, read after the receiver was looked at; None
    #: where nothing tells.
    shown: int | None
    system: System
    process: Process
    #: None if it receives no WAL.
    receiver: WalReceiver | None
    #: Whether that is known to stream; an ordinary role sees that it runs and no more.
    streaming: bool
    #: Of the WAL received, or where the role may not see that (`timeline_seen` is False) the newest
    #: that the control file knows of, which is late: it moves with the replica's restartpoints.
    timeline: int
    timeline_seen: bool
    #: `began`, `ended`: monotonic seconds.
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class Sample:
    """What a replica may be used for until the next poll. It belongs to one server process
    (protocol, Read path 4)."""

    #: `history`, `position`: it has replayed this much of that history, in bytes; without positions
    #: both are empty.
    history: str
    position: int
    #: Monotonic time as of which it is known to have all that the primary had (`-inf`: not known).
    fresh_at: float
    #: `lag_bytes`, `lag` (seconds): 0 at or past the primary's newest known position, so that an
    #: idle primary is no lag; where `fresh_at` is not known, the lag is at least this.
    lag_bytes: int
    lag: float
    taken_at: float
    #: Why it is not in the rotation, empty if it is.
    out: str
    #: See ReplicaReading.
    process: Process
    #: What it shows is not newer than this position of `history`, bytes; None: not known.
    at_most: int | None = None
    #: A later timeline than the primary's that it follows, as the beginning of a history's text,
    #: else empty.
    newer: str = ""


class Trail:
    """Where the primary's flush position was at which moment: what turns a replica's position into
    seconds.

    No clocks are compared: both times are this process's. Of one position the newest moment counts,
    so that an idle primary does not look like lag.
    """

    def __init__(self) -> None:
        self._positions: list[int] = []
        self._moments: list[float] = []

    @property
    def newest(self) -> int:
        """The newest position, 0 if there is none."""
        return self._positions[-1] if self._positions else 0

    def add(self, position: int, moment: float) -> None:
        """Note that at `moment` (monotonic seconds, before the poll) the primary was not past
        `position`."""
        if self._positions and position <= self._positions[-1]:
            self._moments[-1] = moment
            return
        self._positions.append(position)
        self._moments.append(moment)
        if len(self._positions) >= 2 * TRAIL:
            del self._positions[:TRAIL], self._moments[:TRAIL]

    @property
    def oldest_moment(self) -> float:
        """The oldest moment, `-inf` if there is none."""
        return self._moments[0] if self._moments else -math.inf

    def fresh_at(self, position: int) -> float:
        """The newest moment whose position is reached by `position`; `-inf` if that is older than
        the trail."""
        reached = bisect_right(self._positions, position)
        return self._moments[reached - 1] if reached else -math.inf

    def clear(self) -> None:
        """Forget everything: another history begins."""
        self._positions.clear()
        self._moments.clear()


@dataclass(frozen=True, slots=True)
class PrimaryView:
    """What is believed of the primary while a replica is judged. `lost`: it does not answer at the
    moment.

    `insert`: the end of its WAL in bytes when it last answered, to a poll begun at `began`
    (monotonic seconds).
    """

    identity: PrimaryIdentity
    history: str
    trail: Trail
    insert: int
    began: float
    lost: bool


@dataclass(frozen=True, slots=True)
class LagLimit:
    """How far a replica in the rotation may be behind: seconds, and bytes (None: not limited)."""

    seconds: float
    bytes: int | None


def judge(
    reading: ReplicaReading,
    before: Sample | None,
    primary: PrimaryView,
    following: str,
    limit: LagLimit,
) -> Sample:
    """What a reading is worth (protocol, Read path 4: "a replica of the floor's history, streaming
    on its timeline").

    A position counts for the primary's history only if the replica is in recovery, of the same
    system, streams on the same timeline, and `following` is empty (`receivers`: why it may follow
    another server). A replica that lost its stream vouches for what it had replayed while streaming
    (`before`), in the same life of its server, and no more: what it replays now, from an archive
    say, may be of another timeline.

    While the primary is lost, no position is believed that was not before: it may be coming up
    again with another history. Nothing better is to be had then, so replicas that lost their
    stream, or already follow another primary, stay in the rotation for reads that need no position,
    as far as they have what the primary had `limit` before it was last heard: who was out as
    lagging stays out until then.
    """
    out = why_out(reading, primary.identity) or following
    last = before if before is not None and _same_line(before, reading, primary) else None
    believed = not out and not primary.lost
    if believed:
        position, history = reading.position, primary.history
    elif out in ("", Out.NOT_STREAMING, Out.UNCONFIRMED) and last is not None:
        position, history = min(last.position, reading.position), primary.history
    else:
        position, history = 0, ""
    reached, until = position, reading.ended
    if primary.lost:
        reached, until = _reached(reading, last, primary), primary.began
    trail = primary.trail
    lag_bytes = max(0, trail.newest - reached)
    lag = max(0.0, until - max(trail.fresh_at(reached), trail.oldest_moment)) if lag_bytes else 0.0
    too_far = trail.fresh_at(reached) == -math.inf or lag > limit.seconds
    too_far = too_far or (limit.bytes is not None and lag_bytes > limit.bytes)
    if primary.lost and last is not None and last.out == Out.LAGGING:
        too_far = too_far or reading.position <= last.position
    if out != Out.REFUSED and (primary.lost or not out):
        out = Out.LAGGING if too_far else ""
    return Sample(
        history=history,
        position=position,
        fresh_at=trail.fresh_at(position) if history else -math.inf,
        lag_bytes=lag_bytes,
        lag=lag,
        taken_at=reading.ended,
        out=out,
        process=reading.process,
        at_most=_at_most(reading, None if believed else last, position) if history else None,
        newer=_newer(reading, primary.identity),
    )


def _same_line(before: Sample, reading: ReplicaReading, primary: PrimaryView) -> bool:
    """Whether an earlier sample is of the same life of the replica, and of what the primary still
    writes."""
    return before.process == reading.process and before.history == primary.history


def _reached(reading: ReplicaReading, last: Sample | None, primary: PrimaryView) -> int:
    """What a replica surely has of a lost primary's line, bytes: for its lag alone, no read may
    build on it."""
    if last is not None:
        return last.position
    return reading.position if reading.timeline == primary.identity.timeline else 0


def _at_most(reading: ReplicaReading, last: Sample | None, position: int) -> int | None:
    """The most that a replica shows of the line for which it vouches with `position`. `last`: the
    sample that it vouches by, None: by the reading itself.

    What it has replayed bounds that from below only: 1. it makes a commit visible; 2. it unlinks
    the files that the commit dropped; 3. only then it moves its replay position (PostgreSQL,
    xact_redo_commit and ApplyWalRecord). What comes over its stream has been received before; what
    came before the stream began was replayed in full by then.
    """
    if reading.shown is None:
        return None
    if last is not None and (last.at_most is None or reading.shown > last.at_most):
        return None
    return max(position, reading.shown)


def _newer(reading: ReplicaReading, primary: PrimaryIdentity) -> str:
    """The timeline of a server of ours, if the primary has been replaced: it follows the new one,
    or is that itself. Which server process writes the new line is not known.
    """
    replaced = reading.system == primary.system and reading.timeline > primary.timeline
    return f"{primary.system.cluster}.{reading.timeline}." if replaced else ""


def why_out(reading: ReplicaReading, primary: PrimaryIdentity) -> str:
    """Why a replica's position is not of the primary's history, empty if it may be.

    "refused": no replica, or of another cluster or database; "not streaming"; "other history": of
    another timeline.
    """
    if not reading.in_recovery or reading.system != primary.system:
        return Out.REFUSED
    if reading.receiver is None or not reading.streaming:
        return Out.NOT_STREAMING
    return Out.OTHER_HISTORY if reading.timeline != primary.timeline else ""


def ran_ahead(sample: Sample | None, primary: PrimaryView) -> bool:
    """Whether a replica that seemed to follow the primary had replayed what the primary, asked
    later, had not written.

    Then it follows another server with the same system identifier and timeline (what broke earlier
    drafts, 16), or the primary lost WAL that it had sent.
    """
    return (
        sample is not None
        and sample.history == primary.history
        and primary.began >= sample.taken_at
        and sample.position > primary.insert
    )


def judge_without_positions(taken_at: float, process: Process) -> Sample:
    """A replica that answers, where positions are not to be had: in the rotation, of no known
    history or lag."""
    return Sample(
        history="",
        position=0,
        fresh_at=-math.inf,
        lag_bytes=0,
        lag=0.0,
        taken_at=taken_at,
        out="",
        process=process,
    )
