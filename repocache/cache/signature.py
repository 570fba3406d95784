"""Values that nobody without the secret can invent: what is signed of one owner's values, and how it is checked.

Owns the signature. That a value is of its key's id, and has its owner's form, is seen without it (`values`).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from repocache.errors import CodecError

LENGTH = 16
"""Bytes of a signature: half of an HMAC-SHA-256, as RFC 2104 allows."""
_PURPOSE = b"repocache.value"
"""Keys for values are good for nothing else that is signed with the same secret."""


class Signature(Protocol):
    """Of one owner's values."""

    def sign(self, text: str, value: bytes) -> bytes:
        """What is to lie under the key with this text."""
        ...

    def unsign(self, text: str, signed: bytes) -> bytes:
        """The value. Raises CodecError if it was not signed for this key."""
        ...


class Unsigned:
    """Where whoever can write in Redis is trusted."""

    def sign(self, text: str, value: bytes) -> bytes:
        return value

    def unsign(self, text: str, signed: bytes) -> bytes:
        return signed


UNSIGNED = Unsigned()


class Hmac:
    """Signs with the first of the keys, and accepts all."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys

    def sign(self, text: str, value: bytes) -> bytes:
        return value + _made(self._keys[0], text, value)

    def unsign(self, text: str, signed: bytes) -> bytes:
        value, given = signed[:-LENGTH], signed[-LENGTH:]
        for key in self._keys:
            if hmac.compare_digest(given, _made(key, text, value)):
                return value
        raise CodecError("the signature is wrong")


def _made(key: bytes, text: str, value: bytes) -> bytes:
    # A key's text has no zero byte.
    return hmac.digest(key, text.encode() + b"\0" + value, "sha256")[:LENGTH]


@dataclass(frozen=True, slots=True)
class Signing:
    """Whether a database's values are signed. `app`: as in `Settings`; `secrets`: newest first, empty: they are not."""

    app: str
    secrets: tuple[str, ...] = ()

    def signature(self, fingerprint: str) -> Signature:
        """For the values with this fingerprint: no other owner's, shape's, table's or application's value passes."""
        place = b"\0".join((_PURPOSE, self.app.encode(), fingerprint.encode()))
        keys = tuple(hmac.digest(secret.encode(), place, "sha256") for secret in self.secrets)
        return Hmac(keys) if keys else UNSIGNED

    def fingerprint(self, fingerprint: str) -> str:
        """That of signed values is another, so that processes which sign and those which do not yet never meet."""
        return sha256(f"signed {fingerprint}".encode()).hexdigest()[: len(fingerprint)] if self.secrets else fingerprint
