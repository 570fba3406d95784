"""The demo's traffic: what each caller does next, from a seed alone. Pure."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Mix:
    """How much of what.

    `services`: processes; `callers`: users at a time in each. `think`: mean seconds between two
    visits of a user; `pause`: seconds between two requests of one visit. `writes`: share of the
    visits that write; `carried`: share of those whose next requests another process answers.
    `exponent`: of Zipf's law: how much the popular keys are.
    """

    services: int = 4
    callers: int = 16
    think: float = 0.06
    pause: float = 0.004
    writes: float = 0.05
    carried: float = 0.5
    exponent: float = 1.0


@dataclass(frozen=True, slots=True)
class Visit:
    """A user comes after `think` seconds and reads `key`; or writes it and then reads what was
    written.

    `carried`: the user's next requests go to another process.
    """

    key: str
    think: float
    write: bool
    carried: bool


class Traffic:
    """The same visits for the same seed and keys, whoever serves them."""

    def __init__(self, keys: Sequence[str], mix: Mix, seed: int) -> None:
        self._mix = mix
        self._seed = seed
        self._ranked = sorted(keys)
        random.Random(f"ranks {seed}").shuffle(self._ranked)  # noqa: S311 - repeatable, not secret
        self._weights = list(accumulate((rank + 1) ** -mix.exponent for rank in range(len(keys))))

    def visits(self, service: str, caller: int) -> Iterator[Visit]:
        """Without end. Each caller of each service has visits of its own."""
        # Repeatable, not secret.
        draw = random.Random(f"{self._seed} {service} {caller}")  # noqa: S311
        mix, last = self._mix, self._weights[-1]
        while True:
            key = self._ranked[bisect(self._weights, draw.random() * last)]
            think = draw.expovariate(1 / mix.think)
            write = draw.random() < mix.writes
            yield Visit(key, think, write, carried=write and draw.random() < mix.carried)
