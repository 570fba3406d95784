"""`repocache demo`: real servers, real data, faults, and two ways to cache, compared."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from repocache.cli.frame import AsJson, CommandRefused, Frame
from repocache.demo.chart import as_svg
from repocache.demo.report import Report, print_report
from repocache.demo.run import DemoPlan, run_demo
from repocache.demo.service import ServiceDied
from repocache.demo.show import Lines, Picture, Show, Silent
from repocache.testing import ServerError

DEMO_NEEDS = ("airportsdata", "redis")


def demo(
    seconds: Annotated[
        float, typer.Option(min=4, max=600, help="Traffic in all, half for each contestant.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of the traffic: the same seed, the same users.")] = 1,
    picture: Annotated[
        Path | None,
        typer.Option(help="An SVG file to draw into: both contestants over time."),
    ] = None,
    watch: Annotated[
        bool | None,
        typer.Option(
            "--watch/--lines", help="A live picture, or lines; by itself as the output is one."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run real servers, real data and faults, and compare a textbook cache-aside with repocache.

    Where REPOCACHE_TEST_PRIMARY_URL, REPOCACHE_TEST_REPLICA_URLS and REPOCACHE_TEST_REDIS_URL name
    servers, these are used, and only a service process is killed. That Redis database is emptied.

    Ends with status 1 if repocache missed a write of a session's own, or served a cached value
    older than an invalidation that the process had applied.
    """
    with Frame(json=json) as frame:
        missing = [name for name in DEMO_NEEDS if find_spec(name) is None]
        if missing:
            raise CommandRefused(
                f"{', '.join(missing)} not found: pip install 'sqlalchemy-repocache[demo]'"
            )
        if picture is not None:
            check_place(picture)
        # As Ctrl-C: servers and processes end with the command, whoever ends it. A shell's
        # background has SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        show = Silent() if json else show_for(frame.console, watch=watch)
        report = attempt(DemoPlan(seconds, seed), show)
        if picture is not None:
            picture.write_text(as_svg(report.timelines))
        frame.answer(
            report, lambda console: print_report(console, report), found=bool(report.broken)
        )


def check_place(picture: Path) -> None:
    """Before the run. Raises CommandRefused for a file that could not be written after it."""
    if picture.suffix != ".svg":
        raise CommandRefused(f"--picture {picture}: name a file that ends in .svg")
    if not picture.parent.is_dir():
        raise CommandRefused(f"--picture {picture}: there is no folder {picture.parent}")


def show_for(console: Console, *, watch: bool | None) -> Show:
    """For a terminal a picture, for anything else lines, unless `watch` says which."""
    watched = console.is_terminal if watch is None else watch
    return Picture(console) if watched else Lines(console)


def attempt(plan: DemoPlan, show: Show) -> Report:
    """The report. Raises CommandRefused with the reason why there is none."""
    try:
        return run_demo(plan, show)
    except (ServerError, ServiceDied) as error:
        raise CommandRefused(str(error)) from error
