"""What all commands share: one answer, as text or as one JSON document, an exit status, and errors
in one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, redirect_stdout
from types import TracebackType
from typing import Annotated, Any, Self, TextIO

import msgspec
import typer
from redis.exceptions import RedisError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from repocache.errors import RepocacheError
from repocache.redaction.foreign import in_brief

FINE, FOUND, FAILED, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: as it should be; something was found that is not; the command could not do its
work; interrupted."""
WIDTH = 160
"""Columns of what no terminal shows."""

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:DB",
        help="Your Database, or a function that makes one, as in shop.data:db.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Show = Callable[[Console], None]


class CommandRefused(Exception):
    """The command cannot do what it is asked. The message says why, in one line."""


class Frame(AbstractContextManager["Frame"]):
    """Around a command's work: `with Frame(json=json) as frame: ... frame.answer(...)`.

    Until it is left, what the application prints goes to stderr: stdout has the answer alone. An
    error that is the user's, or a server's, ends the command with `FAILED` and one line on stderr;
    with `json` the document is then `{"error": ...}`. `logs`: events go to stderr where the
    application has no log for them; else they do not, for a command says itself what it finds.
    """

    def __init__(self, *, json: bool, logs: bool = False) -> None:
        self.json = json
        self._logs = logs
        self._out: TextIO = sys.stdout
        self.console = plain_console(self._out)
        self._status = FINE
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(redirect_stdout(sys.stderr))
        logger = logging.getLogger("repocache")
        if not self._logs and not logger.handlers:
            logger.addHandler(logging.NullHandler())
        return self

    def answer(self, document: object, show: Show, *, found: bool = False) -> None:
        """`document`: of values that JSON has, and dataclasses of such; `show`: prints the same
        for a person. `found`: something is not as it should be, which the exit status says."""
        if self.json:
            self._write(document)
        else:
            show(self.console)
        if found:
            self._status = FOUND

    def say(self, line: str) -> None:
        """A line while the command works: nothing of it goes into a document."""
        if not self.json:
            self._out.write(line + "\n")
            self._out.flush()

    def _write(self, document: object) -> None:
        text = msgspec.json.encode(document, enc_hook=str).decode()
        self._out.write(text + "\n")
        self._out.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if error is None:
            if self._status:
                raise typer.Exit(self._status)
            return
        if isinstance(error, KeyboardInterrupt):
            raise typer.Exit(INTERRUPTED) from None
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(FAILED) from None
        why = why_refused(error)
        if why is None:
            return
        typer.echo(f"repocache: {why}", err=True)
        if self.json:
            self._write({"error": why})
        raise typer.Exit(FAILED) from None


def why_refused(error: BaseException) -> str | None:
    """In one line; None: it is a fault of this program."""
    if isinstance(error, CommandRefused | RepocacheError):
        return " ".join(str(error).split())
    if isinstance(error, SQLAlchemyError | RedisError | OSError | TimeoutError):
        return in_brief(error)
    return None


def plain_console(out: TextIO) -> Console:
    """Whose text is nobody's markup: what is shown comes from databases, too."""
    options: dict[str, Any] = {} if out.isatty() else {"width": WIDTH}
    return Console(file=out, markup=False, highlight=False, emoji=False, **options)


def counted(number: int, what: str) -> str:
    """`1 owner`, `2 owners`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def printable(text: str) -> str:
    """For a terminal: anybody may have written it, so nothing that is not printed as it is gets
    there."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
