"""What is signed with the application's secrets: one way for messages and for values.

A key serves one purpose, so that nothing that was signed for another passes. Bookmarks, which are
texts, have itsdangerous (`signing.bookmarks`).
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

LENGTH = 16
"""Bytes of a signature: half of an HMAC-SHA-256, as RFC 2104 allows."""


class Signer:
    """`secrets`: the first signs, all are accepted; at least one. `purpose`: parts without a zero
    byte."""

    def __init__(self, secrets: Sequence[str], *purpose: bytes) -> None:
        self._keys = [
            hmac.digest(secret.encode(), b"\0".join(purpose), "sha256") for secret in secrets
        ]

    def sign(self, data: bytes) -> bytes:
        """Its signature, of `LENGTH` bytes."""
        return hmac.digest(self._keys[0], data, "sha256")[:LENGTH]

    def accepts(self, data: bytes, signature: bytes) -> bool:
        """Whether somebody who knows one of the secrets has signed it. Never raises."""
        return any(
            hmac.compare_digest(signature, hmac.digest(key, data, "sha256")[:LENGTH])
            for key in self._keys
        )
