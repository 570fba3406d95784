"""Who waits in line for a reply: a caller, a script that may have to be sent again, or the
pulse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from repocache.redis_link.reply import Reply, ReplyError
from repocache.redis_link.script import Script

Argument: TypeAlias = bytes | str | int


class ScriptCall:
    """The reply to an EVALSHA, with what it takes to answer a NOSCRIPT by loading it.

    Waits in line beside futures and answers to the same calls; a subclass of Future would cost four
    times as much.
    """

    __slots__ = (
        "arguments",
        "done",
        "exception",
        "future",
        "reloaded",
        "script",
        "set_exception",
        "set_result",
    )

    def __init__(
        self, future: asyncio.Future[Reply], script: Script, arguments: tuple[Argument, ...]
    ) -> None:
        self.future = future
        self.script = script
        self.arguments = arguments
        self.reloaded = False
        self.done = future.done
        self.exception = future.exception
        self.set_exception = future.set_exception
        self.set_result = future.set_result

    def again(
        self, loaded: asyncio.Future[Reply]
    ) -> tuple[tuple[tuple[Argument, ...], Waiting], ...]:
        """Commands and who waits for them. A refusal to load shows in the second reply."""
        load = ("SCRIPT", "LOAD", self.script.source)
        return (load, loaded), (("EVALSHA", self.script.sha, *self.arguments), self)


class WhoAreYou:
    """The reply to the pulse, judged where it stands in the stream: nothing that comes behind it is
    handed out if the server is not what it was. `judge`: what is wrong with what INFO replication
    says, empty if nothing is."""

    __slots__ = ("_drop", "_judge")

    def __init__(self, judge: Callable[[bytes], str], drop: Callable[[str], None]) -> None:
        self._judge = judge
        self._drop = drop

    def done(self) -> bool:
        return False

    def exception(self) -> None:
        """Nobody looks."""

    def set_result(self, reply: Reply) -> None:
        doubt = self._judge(reply)
        if doubt:
            self._drop(doubt)

    def set_exception(self, error: Exception) -> None:
        if not isinstance(error, ReplyError) or error.code != "BUSY":
            self._drop(f"the server does not say who it is: {error}")


Waiting: TypeAlias = asyncio.Future[Reply] | ScriptCall | WhoAreYou


def fail(future: Waiting, error: Exception) -> None:
    """Unless it is done."""
    if not future.done():
        future.set_exception(error)
        # Seen: a caller that never looks at its call is no news for the loop's handler.
        future.exception()
