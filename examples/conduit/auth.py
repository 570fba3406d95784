"""Who is asking: a signed token in `Authorization: Token ...`, and passwords."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer

LIFE = 14 * 24 * 3600
"""Of a token, in seconds."""


@dataclass(frozen=True)
class Tokens:
    secret: str

    @property
    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt="conduit")

    def make(self, user_id: int) -> str:
        return str(self._serializer.dumps(user_id))

    def user_id(self, token: str) -> int | None:
        try:
            return int(self._serializer.loads(token, max_age=LIFE))
        except BadSignature:
            return None


def tokens(request: Request) -> Tokens:
    found: Tokens = request.app.state.tokens
    return found


TheTokens = Annotated[Tokens, Depends(tokens)]


def viewer(request: Request, tokens: TheTokens) -> int | None:
    """The id of the user who asks, if one does."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return tokens.user_id(token) if scheme in ("Token", "Bearer") else None


Viewer = Annotated[int | None, Depends(viewer)]


def signed_in(viewer: Viewer) -> int:
    if viewer is None:
        raise HTTPException(401, "sign in")
    return viewer


SignedIn = Annotated[int, Depends(signed_in)]


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**12, r=8, p=1)


async def hashed(password: str) -> str:
    salt = os.urandom(16)
    return (salt + await asyncio.to_thread(_hash, password, salt)).hex()


async def is_right(password: str, stored: str) -> bool:
    raw = bytes.fromhex(stored)
    return hmac.compare_digest(await asyncio.to_thread(_hash, password, raw[:16]), raw[16:])
