"""Events of the channel to Redis: its state, and what is heard there."""

from __future__ import annotations

from repocache.events.event import Event


class ChannelUp(Event, frozen=True):
    """The Redis connection is subscribed; L1 begins empty. `server`: identity of the Redis, as in
    its records."""

    server: str


class ChannelDown(Event, frozen=True):
    """The Redis connection is lost; L1 does not count until it is back."""

    why: str


class GapSeen(Event, frozen=True):
    """Messages of a bucket were lost or its record was made anew: the bucket's L1 was dropped."""

    bucket: int
    why: str


class Invalidated(Event, frozen=True):
    """Keys were dropped from this process's L1. `mine`: this process wrote them."""

    bucket: int
    keys: tuple[str, ...]
    mine: bool
