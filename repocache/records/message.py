"""The invalidation message: what a record announces on the channel, and its wire format
(docs/wire-format.md).

Owns parsing that never raises. Who obeys it: the views of the read path, and `db.invalidations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from repocache.history import LAST

WIRE_VERSION = 2
NO_GENERATIONS: Mapping[str, str] = MappingProxyType({})
Number = Annotated[int, Meta(ge=0, le=LAST)]
Position = Annotated[str, Meta(pattern="^(?:[0-7][0-9a-f]{15}|[0-9a-f]{1,15})$")]
"""Hexadecimal digits, up to `LAST`."""


class Said(NamedTuple):
    """What a writer says of a change before Redis makes it. Of a record made anew it is history and
    incarnation (as `tip`)."""

    history: str
    tip: str
    origin: str = ""
    keys: Sequence[str] = ()
    generations: Mapping[str, str] = NO_GENERATIONS

    @property
    def text(self) -> bytes:
        """In the one way in which it is signed."""
        return msgspec.json.encode(
            (self.history, self.tip, self.origin, self.keys, dict(self.generations))
        )


class Message(
    msgspec.Struct,
    frozen=True,
    rename={
        "version": "v",
        "bucket": "b",
        "incarnation": "i",
        "seq": "s",
        "origin": "o",
        "keys": "k",
        "generations": "g",
        "history": "h",
        "floor": "f",
        "owners": "w",
        "tip": "t",
        "before": "p",
        "mac": "a",
    },
):
    """One change of a record, a bucket's or an owner's, in the record's order.

    `seq` counts from 0 (the record was made, `keys` and `generations` empty) in steps of one: a
    hole is a lost message.
    """

    version: int
    bucket: Number
    incarnation: str
    seq: Number
    history: str
    #: The process that wrote, for diagnosis only: everybody applies everything.
    origin: str = ""
    #: Texts such as `user:42`.
    keys: tuple[str, ...] = ()
    #: Owner -> its new generation (all of its keys changed): the record is the owner's.
    generations: dict[str, str] = {}
    #: Position in bytes that a replica must have replayed before its rows are news, None: unknown.
    floor: Position | None = None
    #: Of each of their owners incarnation, `seq` and `tip` of its own record.
    owners: dict[str, tuple[str, Number, str]] = {}
    #: `tip`, `before`: a random name of this change, and that of the last one: the next in line is
    #: told by both.
    tip: str = ""
    before: str = ""
    #: Who knows the application's secret wrote what is `said`; the rest is Redis's to say.
    mac: str = ""

    @property
    def position(self) -> int | None:
        """The floor as a WAL position in bytes."""
        return None if self.floor is None else int(self.floor, 16)

    def follows(self, last: tuple[str, int, str]) -> bool:
        """Whether nothing came between this and the record's `last` change, given by its
        incarnation, `seq` and `tip`. One that is made anew begins at 0."""
        incarnation, seq, tip = last
        if self.incarnation != incarnation:
            return self.seq == 0
        return self.seq == seq + 1 and self.before == tip

    @property
    def said(self) -> Said:
        """What `mac` is made of."""
        return Said(self.history, self.tip, self.origin, self.keys, self.generations)


_DECODER = msgspec.json.Decoder(Message)


def parse(payload: bytes) -> Message | None:
    """The message in `payload`, or None if it is not one of this wire version."""
    try:
        message = _DECODER.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return message if message.version == WIRE_VERSION else None
