"""Whose switches a process follows: those that name a secret of the application's, where it has
one. A switch can turn a cache on that was declared to be off."""

from __future__ import annotations

from collections.abc import Sequence

from repocache.signing.signer import LENGTH, Signer

_PURPOSE = b"repocache.switch"


class SwitchSigning:
    """`secrets`: as in `Signer`, empty: nothing is signed, and whatever others have signed is
    taken; `accept_unsigned`: as in `Settings`."""

    def __init__(self, secrets: Sequence[str], *, accept_unsigned: bool) -> None:
        self._signer = Signer(secrets, _PURPOSE) if secrets else None
        self._accept_unsigned = accept_unsigned or not secrets

    def seal(self, owner: str, body: bytes) -> bytes:
        """As it is stored. `body`: a JSON object."""
        if self._signer is None:
            return body
        return self._signer.sign(_signed(owner, body)).hex().encode() + body

    def unseal(self, owner: str, value: bytes) -> bytes | None:
        """The body; None: nobody has signed it who may."""
        if value[:1] == b"{":
            return value if self._accept_unsigned else None
        mac, body = value[: 2 * LENGTH], value[2 * LENGTH :]
        if self._signer is None:
            return body
        try:
            signature = bytes.fromhex(mac.decode())
        except ValueError:
            return None
        return body if self._signer.accepts(_signed(owner, body), signature) else None


def _signed(owner: str, body: bytes) -> bytes:
    """For this owner alone: an owner's prefix has no zero byte."""
    return owner.encode() + b"\0" + body
