"""The commands. Exit statuses: 0, 1 if something was found that is not as it should be, 2 if the
command could not do its work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from repocache.cli.advise import advise
from repocache.cli.behind import behind
from repocache.cli.demo import demo
from repocache.cli.doctor import doctor
from repocache.cli.forget import clear, invalidate
from repocache.cli.inspect import inspect
from repocache.cli.keys import keys
from repocache.cli.map import draw_map
from repocache.cli.outbox import outbox, purges
from repocache.cli.purge import purge
from repocache.cli.relay import relay
from repocache.cli.switch import switch
from repocache.cli.verify import verify
from repocache.cli.watch import watch

COMMANDS: Mapping[str, Callable[..., None]] = {
    "demo": demo,
    "keys": keys,
    "map": draw_map,
    "doctor": doctor,
    "watch": watch,
    "advise": advise,
    "inspect": inspect,
    "invalidate": invalidate,
    "clear": clear,
    "switch": switch,
    "behind": behind,
    "verify": verify,
    "relay": relay,
    "outbox": outbox,
    "purge": purge,
    "purges": purges,
}

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def repocache() -> None:
    """A data-access layer whose caches never show a session its own past.

    Exit statuses: 0 if all is as it should be, 1 if something was found that is not, 2 if the
    command could not do its work.
    """


for name, command in COMMANDS.items():
    app.command(name)(command)


if __name__ == "__main__":
    app(prog_name="repocache")
