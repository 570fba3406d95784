"""Switches for all processes of an application: one hash in Redis, which each reads at start and
every few seconds.

Owns what is in the hash, and what follows from it. What a mode means to reads is
`cache.switch`'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from repocache.cache.switch import CacheMode
from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Observer, Switched
from repocache.records import Namespace
from repocache.redaction.foreign import in_brief
from repocache.redis_link import Link, ReplyError
from repocache.runtime.switch_signing import SwitchSigning

EVERY = 2.0
"""Seconds between two looks, about: so late is a process that runs already."""
LONGEST = 86_400.0
"""Seconds that a switch lasts at most: what is to stay belongs into the settings."""
MOST_NAME = 200
"""Characters of who switched."""


class SharedSwitch(msgspec.Struct, frozen=True):
    """`mode`: of one owner, in all processes. `by`: who switched. `since`, `until`: Unix times in
    seconds by the primary's clock."""

    mode: CacheMode
    by: str
    since: float
    until: float


class Turned(Protocol):
    """What reads an owner."""

    def turn(self, mode: CacheMode) -> None:
        """From the next read on; its L1 begins empty."""
        ...


def switches_name(namespace: Namespace) -> str:
    """The hash's key."""
    return f"{namespace.root}:switches"


_DECODER = msgspec.json.Decoder(SharedSwitch)


def read_switches(
    fields: Mapping[str, bytes], now: float, signing: SwitchSigning
) -> tuple[dict[str, SharedSwitch], list[str]]:
    """Those that count now, by the owner's prefix; and fields that say nothing, or that nobody has
    signed who may: somebody else has written them. `now`: Unix time in seconds by the primary's
    clock."""
    found: dict[str, SharedSwitch] = {}
    strange: list[str] = []
    for owner, value in fields.items():
        body = signing.unseal(owner, value)
        try:
            switch = _DECODER.decode(body or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            strange.append(owner)
            continue
        if now < switch.until <= now + 2 * LONGEST:
            found[owner] = switch
    return found, strange


class SharedSwitches:
    """Of one process. `readers`: by the owner's prefix. `declared`: the mode of an owner that
    nobody has switched. `now`: Unix time in seconds by the primary's clock. `counting`:
    those that this process follows now."""

    def __init__(  # noqa: PLR0913  # keyword-only
        self,
        *,
        readers: Mapping[str, Turned],
        declared: CacheMode,
        link: Link | None,
        namespace: Namespace,
        signing: SwitchSigning,
        now: Callable[[], float],
        observe: Observer,
    ) -> None:
        self._signing = signing
        self._readers = readers
        self._own = dict.fromkeys(readers, declared)
        self._link = link
        self._name = switches_name(namespace)
        self._now = now
        self._observe = observe
        self._known: dict[str, SharedSwitch] = {}
        self.counting: dict[str, SharedSwitch] = {}

    def turn(self, owner: str, mode: CacheMode) -> None:
        """In this process alone, for as long as no switch of all processes counts."""
        self._own[owner] = mode
        if owner not in self.counting:
            self._turn(owner, mode, "", None)

    async def run(self) -> None:
        """For ever. A Redis that does not answer changes nothing but what time ends."""
        while True:
            await asyncio.sleep(EVERY * random.uniform(0.8, 1.2))  # noqa: S311  # jitter
            await self.look()

    async def look(self) -> None:
        """Once."""
        if self._link is not None and self._link.alive:
            try:
                self._known = await self.read()
            except (CacheUnavailable, ReplyError) as error:
                self._observe(CacheFailed("switches", in_brief(error)))
        self._apply()

    async def read(self) -> dict[str, SharedSwitch]:
        """Those that count now, of the owners that this process knows: whatever else somebody has
        written there is not fetched. Raises CacheUnavailable, ReplyError."""
        if self._link is None or not self._readers:
            return {}
        values = await self._link.call("HMGET", self._name, *self._readers)
        there = {owner: value for owner, value in zip(self._readers, values, strict=True) if value}
        found, strange = read_switches(there, self._now(), self._signing)
        if strange:
            self._observe(CacheFailed("switches", f"no switches of ours: {', '.join(strange)}"))
        return found

    async def switch(self, owner: str, mode: CacheMode, seconds: float, by: str) -> SharedSwitch:
        """In all processes, this one at once. Raises CacheUnavailable, ReplyError."""
        link, now = self._require(), self._now()
        switch = SharedSwitch(mode, by[:MOST_NAME], now, now + seconds)
        body = msgspec.json.encode(switch)
        await link.call("HSET", self._name, owner, self._signing.seal(owner, body))
        await self.look()
        return switch

    async def end(self, owner: str) -> None:
        """Each process has its own mode again. Raises CacheUnavailable, ReplyError."""
        await self._require().call("HDEL", self._name, owner)
        await self.look()

    def _require(self) -> Link:
        if self._link is None:
            raise CacheUnavailable("no Redis is configured, by which processes could be told")
        return self._link

    def _apply(self) -> None:
        now = self._now()
        counting = {owner: switch for owner, switch in self._known.items() if now < switch.until}
        before, self.counting = self.counting, counting
        for owner in before.keys() - counting.keys():
            self._turn(owner, self._own[owner], "", None)
        for owner, switch in counting.items():
            if before.get(owner) != switch:
                self._turn(owner, switch.mode, switch.by, switch.until)

    def _turn(self, owner: str, mode: CacheMode, by: str, until: float | None) -> None:
        self._readers[owner].turn(mode)
        self._observe(Switched(owner, mode.value, by, until))
