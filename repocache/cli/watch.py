"""`repocache watch`: servers, channel and writes, live in the terminal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from repocache.cli.frame import AsJson, Frame, Target, counted, printable
from repocache.cli.live import node_seen
from repocache.cli.scraped import OwnerFigures, scrape
from repocache.cli.target import find_database
from repocache.database import Database
from repocache.events import (
    BehindMeasured,
    Event,
    LinkMeasured,
    MeasureFailed,
    OutboxMeasured,
    PurgesMeasured,
    RedisMeasured,
)
from repocache.observers.hot_keys import TopCounts
from repocache.records.message import Message
from repocache.runtime.description import OwnerKind

SHOWN = 10
"""Hot keys, and owners."""
Metrics = Annotated[
    list[str] | None,
    typer.Option(metavar="URL", help="/metrics of a running process; may be given several times."),
]


def watch(
    target: Target,
    seconds: Annotated[
        float, typer.Option(min=0, help="End after so long; 0: when interrupted.")
    ] = 0.0,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two pictures.")] = 1.0,
    metrics: Metrics = None,
    json: AsJson = False,
) -> None:
    """Show live: nodes and their lag, Redis, the channel, writes by owner, the keys that are
    written most, the outbox, what edges have still to purge, what is written behind; with --metrics
    also reads by tier. Without it nothing is known of other processes' reads: they tell nobody but
    their own metrics.

    With --json it ends after --seconds, 2 if none are given, and prints what it saw last.
    """
    with Frame(json=json) as frame:
        db = find_database(target)
        most = seconds or (2.0 if json else 0.0)
        last = asyncio.run(run_watch(db, frame, (most, every), metrics or ()))
        frame.answer(last.document, lambda _: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedMoment:
    """What was seen at one moment. `nodes`: name, state, whether it is well. `writes`: keys that
    were invalidated in a second, by owner. `hot`: keys that are written most, with how often
    lately. `failed`: what could not be had."""

    nodes: Sequence[tuple[str, str, bool]] = ()
    channel: str = ""
    redis: Mapping[str, float] = field(default_factory=dict)
    writes: Mapping[str, float] = field(default_factory=dict)
    hot: Sequence[tuple[str, float]] = ()
    outbox: Mapping[str, float] | None = None
    purges: Mapping[str, float] | None = None
    behind: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    reads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    switches: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "nodes": [
                {"name": n, "state": state, "is_well": well} for n, state, well in self.nodes
            ],
            "channel": self.channel,
            "redis": self.redis,
            "writes": self.writes,
            "hot": [{"key": key, "count": count} for key, count in self.hot],
            "outbox": self.outbox,
            "purges": self.purges,
            "behind": self.behind,
            "reads": self.reads,
            "switches": self.switches,
            "failed": self.failed,
        }


class HeardWrites:
    """Follows the channel: which keys are written, and by whose owner, in bounded memory.
    `unnamed`: owners whose keys hold values of columns, as lookups' do: they are counted, and no
    key of theirs is shown."""

    def __init__(self, unnamed: frozenset[str] = frozenset()) -> None:
        self._unnamed = unnamed
        self.is_up = True
        self._owners: dict[str, int] = {}
        self._keys = TopCounts()

    def up(self) -> None:
        self.is_up = True

    def down(self) -> None:
        self.is_up = False

    def apply(self, message: Message) -> None:
        for key in message.keys:
            owner = key.partition(":")[0]
            self._owners[owner] = self._owners.get(owner, 0) + 1
            if owner not in self._unnamed:
                self._keys.add(key, 1)
        for owner in message.generations:
            self._owners[owner] = self._owners.get(owner, 0) + 1

    def forget_all(self) -> None:
        """Nothing to be forgotten."""

    def new_history(self) -> None:
        """Likewise."""

    def taken(self, seconds: float) -> tuple[dict[str, float], list[tuple[str, float]]]:
        """Keys a second by owner since the last call, the most first; and the hot keys."""
        owners, self._owners = self._owners, {}
        rates = {owner: count / seconds for owner, count in owners.items()}
        hot = [(each.key, each.count) for each in self._keys.top(SHOWN)]
        self._keys.fade(0.9)
        return dict(sorted(rates.items(), key=lambda item: -item[1])[:SHOWN]), hot


async def run_watch(
    db: Database, frame: Frame, times: tuple[float, float], metrics: Sequence[str]
) -> WatchedMoment:
    """The last look. `times`: seconds in all, 0: until interrupted, and between two looks. Starts
    the database for it, in this process."""
    most, every = times
    unnamed = {each.prefix for each in db.owners if each.kind in (OwnerKind.LOOKUP, OwnerKind.TAGS)}
    heard, look = HeardWrites(frozenset(unnamed)), WatchedMoment()
    clock = asyncio.get_running_loop().time
    before: Mapping[str, OwnerFigures] = {}
    async with db:
        with db.hearing(heard), pictures(frame) as show:
            began = since = clock()
            while True:
                left = most - (clock() - began) if most else every
                if left <= 0:
                    return look
                await asyncio.sleep(min(every, left))
                now = clock()
                figures = await asyncio.to_thread(scrape, metrics) if metrics else {}
                look = await look_once(db, heard, now - since)
                look = with_reads(look, before, figures, now - since)
                since, before = now, figures
                show(look)


@contextlib.contextmanager
def pictures(frame: Frame) -> Iterator[Callable[[WatchedMoment], None]]:
    """Shows looks in one place of a terminal, else each under the other; nothing with --json."""
    if frame.json:
        yield lambda _: None
    elif frame.console.is_terminal:
        with Live(console=frame.console, auto_refresh=False) as live:
            yield lambda look: live.update(picture(look), refresh=True)
    else:
        yield lambda look: frame.console.print(picture(look))


async def look_once(db: Database, heard: HeardWrites, seconds: float) -> WatchedMoment:
    """`seconds`: since the last one."""
    events: list[Event] = []
    await db.measure(events.append)
    writes, hot = heard.taken(seconds)
    redis: dict[str, float] = {}
    outbox: dict[str, float] | None = None
    purges: dict[str, float] | None = None
    behind: dict[str, Mapping[str, float]] = {}
    failed: dict[str, str] = {}
    channel = "no Redis is configured"
    for each in events:
        if isinstance(each, LinkMeasured):
            channel = "up" if each.alive and heard.is_up else "down"
        elif isinstance(each, RedisMeasured):
            redis = {
                "memory": each.memory,
                "maxmemory": each.maxmemory,
                "keys": each.keys,
                "evicted": each.evicted,
                "round_trip": each.seconds,
            }
        elif isinstance(each, OutboxMeasured):
            outbox = _rows(each)
        elif isinstance(each, PurgesMeasured):
            purges = _rows(each)
        elif isinstance(each, BehindMeasured):
            behind[each.owner] = {"waiting": each.waiting, "seconds": each.seconds}
        elif isinstance(each, MeasureFailed):
            failed[each.what] = each.why
    seen = [(each.name, node_seen(each)) for each in db.nodes]
    return WatchedMoment(
        nodes=[(name, each.live, each.is_well) for name, each in seen],
        channel=channel,
        redis=redis,
        writes=writes,
        hot=hot,
        outbox=outbox,
        purges=purges,
        behind=behind,
        switches={owner: each.mode.value for owner, each in db.counting_switches.items()},
        failed=failed,
    )


def _rows(each: OutboxMeasured | PurgesMeasured) -> dict[str, float]:
    return {"waiting": each.waiting, "aside": each.aside, "seconds": each.seconds}


def with_reads(
    look: WatchedMoment,
    before: Mapping[str, OwnerFigures],
    after: Mapping[str, OwnerFigures],
    seconds: float,
) -> WatchedMoment:
    """With reads a second by owner and tier, between two scrapes."""
    if not before or not after:
        return look
    rates = {
        owner: {
            tier: max(0.0, count - before[owner].reads.get(tier, 0.0)) / seconds
            for tier, count in each.reads.items()
        }
        for owner, each in after.items()
        if owner in before
    }
    return replace(look, reads=rates)


def picture(look: WatchedMoment) -> Group:
    """For a terminal."""
    return Group(*_tables(look))


def _tables(look: WatchedMoment) -> Iterator[Any]:
    yield _servers(look)
    told = {
        owner: ", ".join(f"{tier} {rate:.1f}" for tier, rate in tiers.items() if rate) or "0"
        for owner, tiers in look.reads.items()
    }
    if told:
        yield _pairs("reads", ("owner", "reads/s by tier"), told)
    rates = {owner: f"{rate:.1f}" for owner, rate in look.writes.items()}
    yield _pairs("invalidated", ("owner", "keys/s"), rates)
    if look.hot:
        counts = {key: f"{count:.0f}" for key, count in look.hot}
        yield _pairs("written most", ("key", "lately"), counts)
    for owner, mode in look.switches.items():
        yield Text(f"{owner} is switched {mode} in all processes", style="yellow")


def _pairs(title: str, columns: tuple[str, str], rows: Mapping[str, str]) -> Table:
    table = Table(*columns, title=title, title_justify="left")
    for name, text in rows.items():
        table.add_row(printable(name), printable(text))
    return table


def _servers(look: WatchedMoment) -> Table:
    table = Table("server", "now", title="servers", title_justify="left")
    for name, state, well in look.nodes:
        table.add_row(name, Text(printable(state), style="" if well else "bold red"))
    if look.redis:
        memory = f"{look.redis['memory'] / 2**20:.1f} MB, {counted(int(look.redis['keys']), 'key')}"
        told = f"{memory}, {look.redis['evicted']:.0f} evicted"
        table.add_row("Redis", f"{told}, answers in {look.redis['round_trip'] * 1000:.1f} ms")
    table.add_row("channel", Text(look.channel, style="" if look.channel == "up" else "bold red"))
    for name, rows in (("outbox", look.outbox), ("purges", look.purges)):
        if rows is not None:
            waits = f"{rows['waiting']:.0f} waiting, {rows['aside']:.0f} put aside"
            table.add_row(name, f"{waits}, the oldest {rows['seconds']:.1f} s")
    for owner, each in look.behind.items():
        table.add_row(owner, f"{each['waiting']:.0f} pending, {each['seconds']:.1f} s")
    for what, why in look.failed.items():
        table.add_row(what, Text(printable(why), style="bold red"))
    return table
