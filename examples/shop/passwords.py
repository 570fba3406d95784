"""Passwords, hashed by scrypt with a salt of their own."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os


def _hash(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


async def hashed(password: str) -> str:
    salt = os.urandom(16)
    return (salt + await asyncio.to_thread(_hash, password, salt)).hex()


async def is_right(password: str, stored: str | None) -> bool:
    """`stored`: None: there is no such customer, which takes as long to find out."""
    raw = bytes(80) if stored is None else bytes.fromhex(stored)
    made = await asyncio.to_thread(_hash, password, raw[:16])
    return stored is not None and hmac.compare_digest(made, raw[16:])
