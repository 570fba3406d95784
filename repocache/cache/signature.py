"""Values that nobody without the secret can invent: what is signed of one owner's values, and how
it is checked.

Owns the signature. That a value is of its key's id, and has its owner's form, is seen without it
(`values`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from repocache.errors import CodecError
from repocache.signing.signer import LENGTH, Signer

_PURPOSE = b"repocache.value"


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


class SignedValues:
    """The signature lies behind the value."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def sign(self, text: str, value: bytes) -> bytes:
        return value + self._signer.sign(_under(text, value))

    def unsign(self, text: str, signed: bytes) -> bytes:
        value, given = signed[:-LENGTH], signed[-LENGTH:]
        if not self._signer.accepts(_under(text, value), given):
            raise CodecError("the signature is wrong")
        return value


def _under(text: str, value: bytes) -> bytes:
    # A key's text has no zero byte.
    return text.encode() + b"\0" + value


@dataclass(frozen=True, slots=True)
class Signing:
    """Whether a database's values are signed. `app`: as in `Settings`; `secrets`: newest first,
    empty: they are not."""

    app: str
    secrets: tuple[str, ...] = ()

    def signature(self, fingerprint: str) -> Signature:
        """For the values with this fingerprint: no other owner's, shape's, table's or application's
        value passes."""
        if not self.secrets:
            return UNSIGNED
        return SignedValues(Signer(self.secrets, _PURPOSE, self.app.encode(), fingerprint.encode()))

    def fingerprint(self, fingerprint: str) -> str:
        """That of signed values is another, so that processes which sign and those which do not yet
        never meet."""
        return (
            sha256(f"signed {fingerprint}".encode()).hexdigest()[: len(fingerprint)]
            if self.secrets
            else fingerprint
        )
