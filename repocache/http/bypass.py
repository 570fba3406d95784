"""A header by which a privileged client reads past every cache, to find out where a value is."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from repocache.errors import ConfigurationError
from repocache.http.asgi import Scope, checked_name, values_of

SHORTEST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """`secret`: what the header has to say, at least 16 bytes; compared in constant time. Whatever
    else it says is ignored. Raises ConfigurationError."""

    secret: str = field(repr=False)
    header: str = "X-Repocache-Bypass"

    def __post_init__(self) -> None:
        checked_name("Bypass(header)", self.header)
        if not _is_long_enough(self.secret):
            raise ConfigurationError(
                f"Bypass(secret=...): give a text of at least {SHORTEST} bytes"
            )

    def asked(self, scope: Scope) -> bool:
        """Whether this request knows the secret."""
        secret = _digest(self.secret.encode())
        return any(
            hmac.compare_digest(_digest(each), secret) for each in values_of(scope, self.header)
        )


def _is_long_enough(secret: object) -> bool:
    return isinstance(secret, str) and len(secret.encode()) >= SHORTEST


def _digest(text: bytes) -> bytes:
    """All of one length: not even that of the secret is told."""
    return hashlib.sha256(text).digest()
