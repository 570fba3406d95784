"""What the tests of the link share: quick settings, a listener that writes down all, a wait for a
condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from repocache.redis_link import BreakerSettings, Limits, LinkSettings, ServerFacts

QUICK = LinkSettings(
    connect_timeout=0.6,
    limits=Limits(reply_timeout=0.4, pulse=0.2),
    breaker=BreakerSettings(failures=3, first=0.01, retry=0.1, cooldown=0.1, steady=60),
)
PATIENT = LinkSettings(
    connect_timeout=20, limits=Limits(reply_timeout=20, pulse=20), breaker=QUICK.breaker
)


class Heard:
    """A listener that writes down what it hears, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.troubles: list[str] = []
        self.facts: list[ServerFacts] = []
        self.pushes: list[tuple[bytes, bytes]] = []

    def up(self, facts: ServerFacts) -> None:
        self.facts.append(facts)
        self.events.append("up")

    def down(self, reason: str) -> None:
        self.events.append(f"down: {reason}")

    def push(self, channel: bytes, payload: bytes) -> None:
        self.pushes.append((channel, payload))

    def on_error(self, text: str) -> None:
        self.troubles.append(text)


async def until(condition: Callable[[], object], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.002)
