"""Signed bookmarks: a client cannot forge one. How long one counts stands inside of it.

Owns the fit of `bookmark.Signer` over itsdangerous; the text that is signed is `bookmark`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import BadData, Signer

from repocache.bookmark import SIGNED_BY
from repocache.errors import ConfigurationError

SALT = b"repocache.bookmark"
SHORTEST = 16


class BookmarkSigner:
    """Signs with HMAC-SHA-256. A signature does not grow old: a bookmark that was dropped for its
    signature's age, by whatever clock, would leave its session without its own writes.

    `secrets`: newest first; all are accepted, the first one signs, so a secret is rotated in
    two steps: a new one is given to all processes as the last, then put in front. Each has at least
    16 bytes. `accept_unsigned`: as in `Settings`. Raises ConfigurationError for no secret or one
    that is too short.
    """

    def __init__(self, secrets: Sequence[str | bytes], *, accept_unsigned: bool = False) -> None:
        if isinstance(secrets, str | bytes) or not secrets:
            raise ConfigurationError(
                "BookmarkSigner(secrets=...): give a list of secrets, the newest first"
            )
        keys = [secret.encode() if isinstance(secret, str) else secret for secret in secrets]
        if any(len(key) < SHORTEST for key in keys):
            raise ConfigurationError(f"BookmarkSigner: a secret has at least {SHORTEST} bytes")
        self._signer = Signer(keys[::-1], sep=SIGNED_BY, salt=SALT, digest_method=hashlib.sha256)
        self.strict = not accept_unsigned

    def sign(self, body: str) -> str:
        """`body.signature`, URL-safe if the body is."""
        return self._signer.sign(body).decode()

    def unsign(self, text: str) -> str | None:
        """The body, or None if the signature is wrong. Never raises."""
        if not self.strict and SIGNED_BY not in text:
            return text
        try:
            return self._signer.unsign(text).decode()
        except (BadData, UnicodeError):
            return None
