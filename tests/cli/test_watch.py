"""`repocache watch`: what is seen of servers and of writes."""

from __future__ import annotations

import asyncio
import io
from contextlib import redirect_stdout

from rich.console import Console

from repocache.cli.frame import Frame
from repocache.cli.scraped import OwnerFigures
from repocache.cli.watch import HeardWrites, WatchedMoment, picture, run_watch, with_reads
from repocache.records.message import Message
from repocache.testing import Servers
from tests.cli.conftest import Make
from tests.cli.shop_of_all import Author, Authors


def said(*keys: str, **generations: str) -> Message:
    return Message(2, 1, "i", 1, "h", keys=keys, generations=generations)


def test_writes_by_owner_and_hot_keys() -> None:
    heard = HeardWrites()
    for _ in range(3):
        heard.apply(said("user:1", "order:1:2"))
    heard.apply(said("user:2", post="g"))
    rates, hot = heard.taken(2.0)
    assert rates == {"user": 2.0, "order": 1.5, "post": 0.5}
    assert {key for key, count in hot if count == 3} == {"user:1", "order:1:2"}
    assert heard.taken(1.0)[0] == {}


def test_reads_between_two_scrapes() -> None:
    before = {"user": OwnerFigures({"l1": 10.0}), "gone": OwnerFigures({})}
    after = {"user": OwnerFigures({"l1": 30.0, "l2": 4.0}), "new": OwnerFigures({})}
    assert with_reads(WatchedMoment(), before, after, 2.0).reads == {
        "user": {"l1": 10.0, "l2": 2.0}
    }
    assert with_reads(WatchedMoment(), {}, after, 2.0).reads == {}


def test_values_of_columns_are_not_shown() -> None:
    heard = HeardWrites(frozenset({"user-by_email"}))
    heard.apply(said("user:1", "user-by_email:ada%40x.org"))
    rates, hot = heard.taken(1.0)
    assert rates == {"user": 1.0, "user-by_email": 1.0}
    assert hot == [("user:1", 1)]


async def look(db_of: Make, seconds: float) -> WatchedMoment:
    with redirect_stdout(io.StringIO()), Frame(json=True) as frame:
        return await run_watch(db_of(), frame, (seconds, 0.3), ())


async def test_live(opened: Make) -> None:
    async with opened() as db:
        seen = WatchedMoment()
        while not seen.writes:  # it has what came since the look before, which may be nothing
            watching = asyncio.create_task(look(opened, 3.0))
            while not watching.done():
                async with db.unit_of_work() as work:
                    author: Author = await work[Authors].require(1)
                    author.email = f"{author.email}x"
                    await work.commit()
                await asyncio.sleep(0.05)
            seen = await watching
    assert seen.channel == "up"
    assert {name: well for name, _, well in seen.nodes}["primary"]
    assert seen.redis["memory"] > 0
    assert seen.writes["author"] > 0
    assert seen.hot[0][0].startswith("author")
    assert seen.outbox is not None
    assert "hit" in seen.behind
    console = Console(width=100)
    with console.capture() as captured:
        console.print(picture(seen))
    assert "written most" in captured.get()


async def test_redis_is_away(opened: Make, repocache_controls: Servers) -> None:
    repocache_controls.redis.stop()
    seen = await look(opened, 0.5)
    assert seen.channel == "down"
    assert seen.redis == {}
