"""The commands. Exit statuses: 0, 1 if something was found that is not as it should be, 2 if the
command could not do its work."""

from __future__ import annotations

import typer

from repocache.cli.demo import demo
from repocache.cli.keys import keys
from repocache.cli.outbox import outbox
from repocache.cli.relay import relay
from repocache.cli.verify import verify

COMMANDS = (demo, keys, verify, relay, outbox)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def repocache() -> None:
    """A data-access layer whose caches never show a session its own past.

    Exit statuses: 0 if all is as it should be, 1 if something was found that is not, 2 if the
    command could not do its work.
    """


for each in COMMANDS:
    app.command()(each)


if __name__ == "__main__":
    app(prog_name="repocache")
