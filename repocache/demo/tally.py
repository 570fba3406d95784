"""Running figures of one contestant, for the eye: what was told in the last second, and since the
beginning."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from repocache.demo.records import Commit, DemoRead, Failed, Rotation, Told, ToldChannel

SECOND = 1_000_000_000


def place_of(read: DemoRead) -> str:
    """Who answered: "L1", "L2" or the node's name."""
    return read.node if read.tier == "database" else read.tier.upper()


def percentile(ordered: Sequence[int], share: float) -> int:
    """Nearest rank; 0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


@dataclass(frozen=True, slots=True)
class Figures:
    """`places`: reads of the last second by who answered; `total`: since the beginning. `hit_rate`:
    share of the last second's reads that no database had to answer. `p50`, `p99`: of those reads,
    in ms. `channels`: whether each process hears of invalidations; `out`: nodes that processes have
    out of their rotation."""

    places: Mapping[str, int]
    total: Mapping[str, int]
    hit_rate: float
    p50: float
    p99: float
    writes: int
    errors: int
    channels: Mapping[str, bool]
    out: frozenset[str]


NO_FIGURES = Figures(
    MappingProxyType({}),
    MappingProxyType({}),
    0.0,
    0.0,
    0.0,
    0,
    0,
    MappingProxyType({}),
    frozenset(),
)


class Tally:
    """Counts what it hears."""

    def __init__(self) -> None:
        self._recent: deque[DemoRead] = deque()
        self._total: Counter[str] = Counter()
        self._writes = 0
        self._errors = 0
        self._channels: dict[str, bool] = {}
        self._out: dict[tuple[str, str], str] = {}

    def hear(self, process: str, told: Iterable[Told]) -> None:
        """What a process told."""
        for each in told:
            match each:
                case DemoRead():
                    self._recent.append(each)
                    self._total[place_of(each)] += 1
                case Commit():
                    self._writes += 1
                case Failed():
                    self._errors += 1
                case ToldChannel(up=up):
                    self._channels[process] = up
                case Rotation(node=node, why=why):
                    self._out[process, node] = why
                case _:
                    pass

    def forget(self, process: str) -> None:
        """It is no more."""
        self._channels.pop(process, None)
        self._out = {(one, node): why for (one, node), why in self._out.items() if one != process}

    def figures(self, now: int) -> Figures:
        """At this time, in nanoseconds."""
        while self._recent and self._recent[0].end < now - SECOND:
            self._recent.popleft()
        places = Counter(place_of(read) for read in self._recent)
        times = sorted(read.end - read.start for read in self._recent)
        hits = places["L1"] + places["L2"]
        return Figures(
            places=places,
            total=Counter(self._total),
            hit_rate=hits / max(len(times), 1),
            p50=percentile(times, 0.50) / 1e6,
            p99=percentile(times, 0.99) / 1e6,
            writes=self._writes,
            errors=self._errors,
            channels=dict(self._channels),
            out=frozenset(node for (_, node), why in self._out.items() if why),
        )
