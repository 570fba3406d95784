"""What a run amounts to: counts of its rounds, added up, and how they are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proof.faults.promise import PROMISES
from proof.faults.records import AtLeast, Channel, Ended, Ending, Entry, Failed, Fault, Read
from proof.faults.verdict import Verdict, Violation


@dataclass(slots=True)
class Figures:
    """`seconds`: of traffic. `slowest`: the most seconds that a round's caches took to be right.
    `latest`: the most seconds for which L1 showed what an acknowledged commit had replaced.
    `broken`: rounds that did not come to an end."""

    rounds: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    latest: float = 0.0
    reads: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    checked: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    losses: int = 0
    broken: int = 0

    def add(self, history: Sequence[Entry], verdict: Verdict, seconds: float) -> None:
        """One round's."""
        self.rounds += 1
        self.seconds += seconds
        self.latest = max(self.latest, verdict.latest)
        self.checked.update(verdict.checked)
        self.violations.update(violation.promise for violation in verdict.violations)
        for _, each in history:
            match each:
                case Read():
                    self.reads[each.via] += 1
                    self.kinds[each.how] += 1
                case AtLeast():
                    self.reads["past"] += 1
                    self.kinds[each.how] += 1
                case Ended():
                    kind = (
                        "uncovered"
                        if each.outcome == "committed" and not each.covered
                        else each.outcome
                    )
                    self.writes[kind] += 1
                    if each.why and each.why != "cancelled":
                        self.errors[f"write: {each.why}"] += 1
                case Failed():
                    self.errors[f"read: {each.why}"] += 1
                case Fault():
                    self.faults[each.kind] += 1
                case Channel(up=False):
                    self.losses += 1
                case Ending():
                    self.slowest = max(self.slowest, each.seconds)
                case _:
                    pass

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def lines(self) -> list[str]:
        """For people."""
        operations = self.reads.total() + self.writes.total() + self.errors.total()
        return [
            f"{self.rounds} rounds, {self.seconds:.0f} s of traffic, {operations:,} operations",
            f"reads: {listed(self.reads)}",
            f"of these by: {listed(self.kinds)}",
            f"writes: {listed(self.writes)}",
            f"errors: {listed(self.errors) or 'none'}",
            f"faults: {listed(self.faults)}",
            f"channel lost {self.losses} times; L1 {self.latest:.3f} s behind at the most",
            f"after the last fault all caches were right within {self.slowest:.2f} s",
            "held against each promise: "
            + listed({name: self.checked.get(name, 0) for name in PROMISES}),
            f"violations: {listed(self.violations) or '0'}; rounds that broke: {self.broken}",
        ]


def listed(counts: Mapping[str, int]) -> str:
    """`a 3, b 2`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in ordered)


def told(violations: Sequence[Violation], most: int = 20) -> list[str]:
    """One line for each."""
    lines = [f"  {each.promise}: {each.process}: {each.what}" for each in violations[:most]]
    return [*lines, *([f"  and {len(violations) - most} more"] if len(violations) > most else [])]
