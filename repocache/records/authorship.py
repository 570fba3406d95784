"""Which messages are this application's own: those that name a secret of it, where it has one.

Which change follows on which is for Redis to say, and nobody has to believe it of a message
(`cache.belief`): a signed one that is published again is a miss, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from repocache.records.message import Message, Said
from repocache.signing.signer import Signer

_PURPOSE = b"repocache.records.message"


class Authorship(Protocol):
    """Of messages."""

    def mac(self, said: Said) -> str:
        """To be sent with what it signs."""
        ...

    def accepts(self, message: Message) -> bool: ...


class Anybody:
    """No secret: any message is heard."""

    def mac(self, _said: Said) -> str:
        return ""

    def accepts(self, _message: Message) -> bool:
        return True


class SignedMessages:
    """`secrets`: as in `Signer`; `accept_unsigned`: as in `Settings`."""

    def __init__(self, secrets: Sequence[str], *, accept_unsigned: bool = False) -> None:
        self._signer = Signer(secrets, _PURPOSE)
        self._accept_unsigned = accept_unsigned

    def mac(self, said: Said) -> str:
        return self._signer.sign(said.text).hex()

    def accepts(self, message: Message) -> bool:
        if not message.mac:
            return self._accept_unsigned
        try:
            given = bytes.fromhex(message.mac)
        except ValueError:
            return False
        return self._signer.accepts(message.said.text, given)


def authorship(secrets: Sequence[str], *, accept_unsigned: bool) -> Authorship:
    """As the settings have it."""
    return SignedMessages(secrets, accept_unsigned=accept_unsigned) if secrets else Anybody()
