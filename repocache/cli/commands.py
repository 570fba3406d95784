"""The commands, and their exit statuses: 0, 1 if a promise was broken, 2 if the command could not
do its work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from importlib.util import find_spec
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from repocache.cli.outbox import NoRow, Wanted, run_outbox
from repocache.cli.relay import run_relay
from repocache.cli.target import NoTarget, find_database
from repocache.cli.verify import as_json, print_verification, run_verify
from repocache.demo.report import Report, print_report
from repocache.demo.run import DemoPlan, run_demo
from repocache.demo.service import ServiceDied
from repocache.demo.show import Lines, Picture, Show, Silent
from repocache.errors import RepocacheError
from repocache.testing import ServerError

DEMO_NEEDS = ("airportsdata", "redis")
BROKEN, FAILED, INTERRUPTED = 1, 2, 130

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def repocache() -> None:
    """A data-access layer whose caches never show a session its own past."""


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option(min=4, max=600, help="Traffic in all, half for each contestant.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of the traffic: the same seed, the same users.")] = 1,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Run real servers, real data and faults, and compare a textbook cache-aside with repocache.

    Where REPOCACHE_TEST_PRIMARY_URL, REPOCACHE_TEST_REPLICA_URLS and REPOCACHE_TEST_REDIS_URL name
    servers, these are used, and only a service process is killed. That Redis database is emptied.

    Ends with status 1 if repocache missed a write of a session's own, or served a cached value
    older than an invalidation that the process had applied.
    """
    missing = [name for name in DEMO_NEEDS if find_spec(name) is None]
    if missing:
        fail(f"{', '.join(missing)} not found: pip install 'sqlalchemy-repocache[demo]'")
    console = Console()
    # As Ctrl-C: servers and processes end with the command, whoever ends it. A shell's background
    # has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    report = attempt(DemoPlan(seconds, seed), show_for(console, json=json))
    if json:
        sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
    else:
        print_report(console, report)
    if report.broken:
        raise typer.Exit(BROKEN)


@app.command()
def verify(
    target: Annotated[
        str, typer.Argument(help="module:name of your Database, or of a function that makes one.")
    ],
    samples: Annotated[int, typer.Option(min=1, help="Values to look at, at most.")] = 5_000,
    within: Annotated[
        float, typer.Option(min=0, help="Seconds that an invalidation may be on its way.")
    ] = 2.0,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Compare values that are cached in Redis with the primary, and invalidate those that are
    wrong.

    Ends with status 1 if one was older than the primary's row for longer than `--within`.
    """
    try:
        verification = asyncio.run(run_verify(find_database(target), samples, within))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (NoTarget, RepocacheError) as error:
        fail(str(error))
    if json:
        sys.stdout.write(as_json(verification) + "\n")
    else:
        print_verification(Console(), verification)
    if verification.wrong:
        raise typer.Exit(BROKEN)


@app.command()
def relay(
    target: Annotated[
        str, typer.Argument(help="module:name of your Database, or of a function that makes one.")
    ],
) -> None:
    """Deliver the invalidations that the outbox holds, until interrupted. Every process does so
    anyway: this one is for when none may be up."""
    try:
        asyncio.run(run_relay(find_database(target), typer.echo))
    except (NoTarget, RepocacheError) as error:
        fail(str(error))


@app.command()
def outbox(
    target: Annotated[
        str, typer.Argument(help="module:name of your Database, or of a function that makes one.")
    ],
    replay: Annotated[
        list[str] | None, typer.Option(help="Id of a row to try again now, or all.")
    ] = None,
    discard: Annotated[
        list[str] | None, typer.Option(help="Id of a row to delete undelivered.")
    ] = None,
) -> None:
    """List the invalidations that wait in the outbox and those that were put aside, or try again
    and delete some.

    Ends with status 1 if rows are put aside.
    """
    try:
        aside = asyncio.run(
            run_outbox(find_database(target), Wanted(replay or (), discard or ()), typer.echo)
        )
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (NoTarget, NoRow, RepocacheError) as error:
        fail(str(error))
    if aside:
        raise typer.Exit(BROKEN)


def show_for(console: Console, *, json: bool) -> Show:
    """For a terminal a picture, for anything else lines."""
    if json:
        return Silent()
    return Picture(console) if console.is_terminal else Lines(console)


def attempt(plan: DemoPlan, show: Show) -> Report:
    """The report, or the end of the command with the reason."""
    try:
        return run_demo(plan, show)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except (ServerError, ServiceDied) as error:
        fail(str(error))


def fail(why: str) -> NoReturn:
    """End the command."""
    typer.echo(f"repocache: {why}", err=True)
    raise typer.Exit(FAILED)


if __name__ == "__main__":
    app(prog_name="repocache")
