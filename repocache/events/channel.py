"""Events of the channel to Redis: its state, and what is heard there."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.events.event import Event


@dataclass(frozen=True, slots=True)
class ChannelUp(Event):
    """The Redis connection is subscribed; L1 begins empty. `server`: identity of the Redis, as in
    its records."""

    server: str


@dataclass(frozen=True, slots=True)
class ChannelDown(Event):
    """The Redis connection is lost; L1 does not count until it is back."""

    why: str


@dataclass(frozen=True, slots=True)
class GapSeen(Event):
    """Messages of a bucket were lost or its record was made anew: the bucket's L1 was dropped."""

    bucket: int
    why: str


@dataclass(frozen=True, slots=True)
class Invalidated(Event):
    """Keys were dropped from this process's L1. `mine`: this process wrote them."""

    bucket: int
    keys: tuple[str, ...]
    mine: bool
