"""Which node answers a read: what is needed of it, and the choice among those that have it.

Owns the decision only: no I/O, no clock, no randomness of its own. Waiting, polling and falling
back are `topology`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from repocache.events import Out
from repocache.nodes.wal import Sample


@dataclass(frozen=True, slots=True)
class ReadRequirement:
    """What a node must have to answer a read (protocol, Read path 4)."""

    #: `history`, `position`: it has replayed this much of this history, bytes; 0: nothing in
    #: particular.
    history: str = ""
    position: int = 0
    #: It has all that the primary had so many seconds ago, whatever the general limit says; None:
    #: the general limit.
    max_lag: float | None = None
    #: Why only the primary will do, empty if a replica may answer.
    primary: str = ""
    #: The caller asked for the primary, so the read is no fallback and passes the budget by.
    asked: bool = False
    #: False: never the primary while there are replicas.
    fallback: bool = True
    #: The answer must say which position it cannot be newer than (for monotonic reads; one poll
    #: more).
    stamped: bool = False
    #: It is known to have now all that the primary had so many seconds ago, whatever is known of it
    #: since the primary was last heard (what fills a cache lives on).
    fresh: float | None = None
    #: Why no node may answer at all, empty if one may.
    unmet: str = ""
    #: Whose bookmark it is that asks for more than anybody's read would; None: nobody's.
    client: object = None

    def driven_by(self, why: str) -> object:
        """The client without whose bookmark a replica might have answered; None: no replica may,
        whoever asks. `why`: that of the choice."""
        return self.client if self.primary or why == BEHIND else None


BEHIND = "replicas behind"
ANYTHING = ReadRequirement()


class Candidate(Protocol):
    """A replica as the choice sees it. `down`: why no sample is to be expected soon, empty
    otherwise."""

    name: str
    weight: float
    in_flight: int
    sample: Sample | None
    down: str


C = TypeVar("C", bound=Candidate)


class Choice(NamedTuple, Generic[C]):
    """The chosen replica, or None: the primary; and why. `curable`: a fresh poll may find a replica
    after all."""

    node: C | None
    why: str
    curable: bool = False


def choose_node(
    replicas: Sequence[C], need: ReadRequirement, now: float, draw: Callable[[], float]
) -> Choice[C]:
    """The less loaded of two replicas drawn by weight, of those that satisfy the need.

    `now`: monotonic seconds. `draw`: uniform in [0, 1). Loads are reads in flight for each unit of
    weight; of equal loads the first drawn wins, so that weights count on an idle system too.
    """
    if need.primary:
        return Choice(None, need.primary)
    able = [replica for replica in replicas if satisfies(replica.sample, need, now)]
    if not able:
        return _none(replicas)
    first = able[0]
    if len(able) > 1:
        first = _drawn(able, draw)
        second = (
            able[able[0] is first]
            if len(able) == 2
            else _drawn([r for r in able if r is not first], draw)
        )
        if second.in_flight * first.weight < first.in_flight * second.weight:
            first = second
    return Choice(first, "replica")


def satisfies(sample: Sample | None, need: ReadRequirement, now: float) -> bool:
    """Whether a replica with this sample may answer."""
    if sample is None:
        return False
    if need.position and (sample.position < need.position or sample.history != need.history):
        return False
    if need.fresh is not None and now - sample.fresh_at > need.fresh:
        return False
    if need.max_lag is None:
        return not sample.out
    return sample.out in ("", Out.LAGGING) and now - sample.fresh_at <= need.max_lag


def _drawn(replicas: Sequence[C], draw: Callable[[], float]) -> C:
    left = draw() * sum([replica.weight for replica in replicas])
    for replica in replicas:
        left -= replica.weight
        if left < 0:
            return replica
    return replicas[-1]


def _none(replicas: Sequence[C]) -> Choice[C]:
    if not replicas:
        return Choice(None, "no replicas")
    up = [replica for replica in replicas if not replica.down]
    if not up:
        return Choice(None, "replicas lost")
    if any(replica.sample is None for replica in up):
        return Choice(None, "no sample", curable=True)
    if any(replica.sample is not None and not replica.sample.out for replica in up):
        return Choice(None, BEHIND, curable=True)
    return Choice(None, "replicas out")
