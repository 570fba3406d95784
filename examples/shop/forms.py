"""What a form of HTML sends, without a library for files that nobody sends."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import Depends, HTTPException, Request

MOST_BYTES = 16 * 1024
FORM = "application/x-www-form-urlencoded"


class Fields(dict[str, str]):
    """By their names."""

    def text(self, name: str, most: int = 200) -> str:
        """Not empty, at most so many characters. Raises HTTPException."""
        found = self.get(name, "").strip()
        if not found or len(found) > most:
            raise HTTPException(422, f"{name}: 1 to {most} characters")
        return found

    def whole(self, name: str, least: int, most: int) -> int:
        """A whole number between these. Raises HTTPException."""
        found = self.get(name, "")
        if not (found.isascii() and found.isdecimal() and len(found) <= 9):
            raise HTTPException(422, f"{name}: a whole number")
        if not least <= int(found) <= most:
            raise HTTPException(422, f"{name}: {least} to {most}")
        return int(found)


async def fields(request: Request) -> Fields:
    """Raises HTTPException for what is no form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise HTTPException(415, f"send {FORM}")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"at most {MOST_BYTES} bytes")
    return Fields(parse_qsl(body.decode(errors="replace"), max_num_fields=50))


Form = Annotated[Fields, Depends(fields)]
