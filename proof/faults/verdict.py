"""What a judge says of a history."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """`promise`: which one. `at`: nanoseconds, as in the history."""

    promise: str
    process: str
    what: str
    at: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """`checked`: how many reads (or writes, errors, rows) each promise was held against. `latest`:
    the most seconds for which L1 showed a row after an acknowledged commit had replaced it."""

    violations: tuple[Violation, ...]
    checked: dict[str, int]
    latest: float
