"""Known secrets, and where they came out."""

from __future__ import annotations

import base64
import re
import traceback
from collections.abc import Iterator
from urllib.parse import quote, quote_plus


def forms(secret: str) -> set[str]:
    """The secret as it may be written: itself, a piece of it as a parser may have cut it,
    percent-encoded, in base64 at any offset."""
    encoded = {
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        repr(secret)[1:-1],
    }
    encoded.update(re.findall(r"[A-Za-z0-9]{6,}", secret))
    for offset in range(3):
        # The first and the last characters depend on what stands beside it.
        text = base64.b64encode(b"\0" * offset + secret.encode()).decode().rstrip("=")
        encoded.add(text[(0, 2, 3)[offset] : -1])
    return encoded


def spilled(secrets: dict[str, str], said: dict[str, str]) -> list[str]:
    """Which secrets, by their names, came out where."""
    return [
        f"{secret} in {place}: {text[:400]}"
        for place, text in said.items()
        for secret, value in secrets.items()
        if any(form in text for form in forms(value))
    ]


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it hangs on, also what `from None` does not print."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [each.__cause__, each.__context__]
            waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else []


def told(error: BaseException) -> str:
    """Everything that can be printed of an error."""
    said = [
        f"{each!r} {each} {each.args!r} {getattr(each, '__notes__', '')}" for each in chain(error)
    ]
    return "\n".join((*said, *traceback.format_exception(error)))
