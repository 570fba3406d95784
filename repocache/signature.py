"""Which messages are this application's own: those that name a secret of it, where it has one.

Owns how a change is signed before Redis makes it. Which changes follow on which is for Redis to say, and nobody has to
believe it of a message (`cache.belief`): a signed one that is published again is a miss, and no more.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Protocol

from repocache.message import Message

_PURPOSE = b"repocache.message"
"""No two uses of a secret have one key."""
_LENGTH = 16
"""Bytes of a signature: HMAC-SHA-256, cut as RFC 2104 allows."""


class Signature(Protocol):
    """Of messages."""

    def mac(self, part: bytes) -> str:
        """To be sent with what it signs (`message.signed_part`)."""
        ...

    def accepts(self, message: Message) -> bool: ...


class Unsigned:
    """No secret: any message is heard."""

    def mac(self, _part: bytes) -> str:
        return ""

    def accepts(self, _message: Message) -> bool:
        return True


class Signed:
    """`secrets`: the first signs, all are accepted."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [hmac.digest(secret.encode(), _PURPOSE, "sha256") for secret in secrets]

    def mac(self, part: bytes) -> str:
        return self._mac(self._keys[0], part)

    def accepts(self, message: Message) -> bool:
        part, mac = message.signed_part, message.mac
        return mac.isascii() and any(hmac.compare_digest(mac, self._mac(key, part)) for key in self._keys)

    def _mac(self, key: bytes, part: bytes) -> str:
        return hmac.digest(key, part, "sha256")[:_LENGTH].hex()


def signature_of(secrets: Sequence[str]) -> Signature:
    """As the secrets have it."""
    return Signed(secrets) if secrets else Unsigned()
