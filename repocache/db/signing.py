"""Signed bookmarks: a client cannot forge one, and a captured one grows old.

Owns the fit of `bookmark.Signer` over itsdangerous; the text that is signed is `bookmark`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import BadData, TimestampSigner

from repocache.errors import ConfigurationError

SALT = b"repocache.bookmark"
SHORTEST = 16


class BookmarkSigner:
    """Signs with HMAC-SHA-256 and the time.

    `secrets`: newest first; all are accepted, the first one signs, so a secret is rotated by putting a new
    one in front. Each has at least 16 bytes. `max_age`: seconds after which a signature no longer counts.
    Raises ConfigurationError for no secret, one that is too short, or a `max_age` that is not positive.
    """

    def __init__(self, secrets: Sequence[str | bytes], max_age: float) -> None:
        if isinstance(secrets, str | bytes) or not secrets:
            raise ConfigurationError("BookmarkSigner(secrets=...): give a list of secrets, the newest first")
        keys = [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
        if any(len(key) < SHORTEST for key in keys):
            raise ConfigurationError(f"BookmarkSigner: a secret has at least {SHORTEST} bytes")
        if max_age <= 0:
            raise ConfigurationError(f"BookmarkSigner(max_age={max_age}): give seconds, more than 0")
        self._max_age = max_age
        self._signer = TimestampSigner(keys[::-1], salt=SALT, digest_method=hashlib.sha256)

    def sign(self, body: str) -> str:
        """`body.time.signature`, URL-safe if the body is."""
        return self._signer.sign(body).decode()

    def unsign(self, text: str) -> str | None:
        """The body, or None if the signature is wrong or older than `max_age`. Never raises."""
        try:
            body, signed_at = self._signer.unsign(text, return_timestamp=True)
        except (BadData, UnicodeError):
            return None
        age = self._signer.get_timestamp() - signed_at.timestamp()
        return body.decode() if -self._max_age <= age <= self._max_age else None
