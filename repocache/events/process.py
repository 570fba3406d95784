"""Events of the process as a whole: what it lacks, what is open, what broke."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.event import Event


@dataclass(frozen=True, slots=True)
class Degraded(Event):
    """Something that was asked for is not there, and what is lost without it. Emitted at start,
    or when it is found out."""

    what: str
    lost: str


@dataclass(frozen=True, slots=True)
class Unguarded(Event):
    """Something works and is open to others: bookmarks, or the way to a server. `risk`: what they
    could do, and what closes it. Emitted at start."""

    what: str
    risk: str


@dataclass(frozen=True, slots=True)
class TaskFailed(Event):
    """A task of the database raised. `task`: what it ran."""

    task: str
    why: str
