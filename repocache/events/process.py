"""Events of the process as a whole: what it lacks, what is open, what broke."""

from __future__ import annotations

from repocache.events.event import Event


class Degraded(Event, frozen=True):
    """Something that was asked for is not there, and what is lost without it. Emitted at start,
    or when it is found out."""

    what: str
    lost: str


class Unguarded(Event, frozen=True):
    """Something works and is open to others: bookmarks, or the way to a server. `risk`: what they
    could do, and what closes it. Emitted at start."""

    what: str
    risk: str


class TaskFailed(Event, frozen=True):
    """A task of the database raised. `task`: what it ran."""

    task: str
    why: str
