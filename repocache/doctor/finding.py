"""What a check has found, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """`ERROR`: a promise does not hold, or something does not work. `WARNING`: it works, and will
    not when something happens. `NOTE`: it is so, and may be meant."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what`: is not as it should be. `evidence`: what was seen. `remedy`: what to do. `page`: of
    the documentation."""

    severity: Severity
    what: str
    evidence: str
    remedy: str
    page: str


def error(what: str, evidence: str, remedy: str, page: str) -> Finding:
    """One of this severity."""
    return Finding(Severity.ERROR, what, evidence, remedy, page)


def warning(what: str, evidence: str, remedy: str, page: str) -> Finding:
    """One of this severity."""
    return Finding(Severity.WARNING, what, evidence, remedy, page)


def note(what: str, evidence: str, remedy: str, page: str) -> Finding:
    """One of this severity."""
    return Finding(Severity.NOTE, what, evidence, remedy, page)
