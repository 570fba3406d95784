"""What Redis answers."""

from __future__ import annotations

from typing import Any, TypeAlias

from repocache.errors import RepocacheError

Reply: TypeAlias = Any
"""bytes, int, float, bool, None, or a list or dict of them: the command decides which.

An error inside a list (a script's or an EXEC's) is a `ReplyError` *value*; only a whole reply is
raised.
"""

QUOTED = ", with args beginning with"
"""Of a command that Redis does not know; what follows are its arguments."""


class ReplyError(RepocacheError):
    """Redis refused a command. The connection is fine, and the next command may succeed.

    `code`: its first word, such as "WRONGTYPE", "NOSCRIPT", "OOM". The text is Redis's own, but for
    the arguments that it quotes, which may be a password.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text.partition(QUOTED)[0])
        self.code = text.partition(" ")[0]
