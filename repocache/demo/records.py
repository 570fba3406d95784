"""What the demo's processes tell each other over their pipes: the history of a run, and orders.
Framing included.

All times are nanoseconds of `time.monotonic_ns`, which the processes of one machine share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from repocache.demo.traffic import Mix

HEADER = 4


class DemoRead(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    """A read was answered. `tier`: "l1", "l2" or "database"; `node`: which, for the database."""

    session: str
    key: str
    version: int
    tier: str
    node: str
    start: int
    end: int


class Commit(msgspec.Struct, frozen=True, array_like=True, tag="commit"):
    """A write was acknowledged. `published`: its invalidation had reached Redis by then."""

    session: str
    key: str
    version: int
    published: bool
    start: int
    end: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """A call raised. `what`: "read" or "write"."""

    what: str
    why: str
    end: int


class Applied(msgspec.Struct, frozen=True, array_like=True, tag="applied"):
    """The process dropped these keys from its own cache, on its own account or because it was
    told."""

    keys: tuple[str, ...]
    at: int


class Dropped(msgspec.Struct, frozen=True, array_like=True, tag="dropped"):
    """The process dropped a whole bucket of keys; ALL: everything."""

    bucket: int
    at: int


class ToldChannel(msgspec.Struct, frozen=True, array_like=True, tag="channel"):
    """The process hears of invalidations, or does not."""

    up: bool
    at: int


class Rotation(msgspec.Struct, frozen=True, array_like=True, tag="rotation"):
    """A node left the process's rotation, saying why, or came back ("")."""

    node: str
    why: str
    at: int


class Handover(msgspec.Struct, frozen=True, array_like=True, tag="handover"):
    """A user goes on in another process, with this bookmark."""

    session: str
    key: str
    bookmark: str


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Connected; waits for `Begin`."""


class Setup(msgspec.Struct, frozen=True, array_like=True, tag="setup"):
    """The first order to a process. Addresses come this way and not as arguments, which everybody
    could read."""

    service: str
    contestant: str
    primary: str
    replicas: tuple[str, ...]
    redis: str
    keys: tuple[str, ...]
    mix: Mix
    seed: int


class Begin(msgspec.Struct, frozen=True, array_like=True, tag="begin"):
    """Let the traffic in."""


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """End what is under way and leave."""


ALL = -1
Told = DemoRead | Commit | Failed | Applied | Dropped | ToldChannel | Rotation | Handover | Ready
Order = Setup | Begin | Handover | Stop
_ENCODER = msgspec.msgpack.Encoder()
_TOLD = msgspec.msgpack.Decoder(list[Told])
_ORDERS = msgspec.msgpack.Decoder(list[Order])


def frame(messages: Sequence[Told] | Sequence[Order]) -> bytes:
    """Several messages as bytes."""
    body = _ENCODER.encode(messages)
    return len(body).to_bytes(HEADER, "big") + body


async def read_told(pipe: asyncio.StreamReader) -> Iterable[Told]:
    """The next messages of a process; none at the end of the pipe, also one in the middle of a
    message."""
    return _TOLD.decode(await _body(pipe))


async def read_orders(pipe: asyncio.StreamReader) -> Iterable[Order]:
    """The next orders; none at the end of the pipe: whoever gives them is gone."""
    return _ORDERS.decode(await _body(pipe))


async def _body(pipe: asyncio.StreamReader) -> bytes:
    try:
        size = int.from_bytes(await pipe.readexactly(HEADER), "big")
        return await pipe.readexactly(size)
    except asyncio.IncompleteReadError:
        return _ENCODER.encode([])
