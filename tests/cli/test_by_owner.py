"""`inspect`, `invalidate`, `clear`, `behind`: what is asked of one owner."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import text

from repocache import KeyOwner
from repocache.cli import behind as behind_command
from repocache.cli.behind import run_behind
from repocache.cli.forget import run_clear, run_invalidate
from repocache.cli.frame import CommandRefused
from repocache.cli.inspect import look, shown_row, size_of
from repocache.cli.named import find_owner, id_text
from repocache.errors import CacheUnavailable
from repocache.keys import Keys
from repocache.runtime.inspection import HeldState
from repocache.testing import Servers
from tests.cli.conftest import Make
from tests.cli.shop_of_all import Authors, Hits, Posts, Prices
from tests.shop import until

UUID = uuid.UUID(int=7)


@pytest.mark.parametrize(
    "types, given, told",
    [
        ((int,), "7", "7"),
        ((int,), "007", "7"),
        ((str,), "a:b", "a%3Ab"),
        ((uuid.UUID,), str(UUID), UUID.hex),
        ((int, str), "1:x%3Ay", "1:x%3Ay"),
    ],
)
def test_ids_as_a_person_writes_them(types: tuple[type, ...], given: str, told: str) -> None:
    assert id_text(Keys(KeyOwner("a"), types), given) == told


@pytest.mark.parametrize("types, given", [((int,), "x"), ((int, int), "7"), ((uuid.UUID,), "7")])
def test_ids_of_another_type(types: tuple[type, ...], given: str) -> None:
    with pytest.raises(CommandRefused, match="is no id of a: its type is"):
        id_text(Keys(KeyOwner("a"), types), given)


def test_an_owner_by_name(opened: Make) -> None:
    db = opened()
    assert find_owner(db, "Authors") is find_owner(db, "author") is Authors
    assert find_owner(db, "price", kinds="cached") is Prices
    assert find_owner(db, "Hits", kinds="behind") is Hits
    with pytest.raises(CommandRefused, match="did you mean 'Authors'"):
        find_owner(db, "Autors")
    with pytest.raises(CommandRefused, match="there are Authors, Posts"):
        find_owner(db, "zzz")


async def test_a_key_tier_by_tier(opened: Make) -> None:
    async with opened() as db:
        await db[Authors].get(1)
        await db[Authors].get(99)
        await db[Posts].count()
        await until(lambda: db[Authors]._peek(99) is not None, "the fills have landed")
        found, tags = await look(opened(), "author", "1")
        assert (found.key, found.held, found.is_equal) == ("author:1", HeldState.VALUE, True)
        assert found.left is not None
        assert 200 < found.left <= 300
        assert found.record.incarnation
        assert found.name.endswith(":author:1")
        assert tags == {}
        assert found.row == found.primary == {"id": 1, "email": "1@x", "secret": "hunter2"}
        assert shown_row(found.row, values=False) == {
            "id": "int",
            "email": "str of 3",
            "secret": "str of 7",
        }
        assert "hunter2" in str(shown_row(found.row, values=True))
        found, tags = await look(opened(), "Posts", "1")
        assert list(tags) == ["tag--posts"]
        found, _ = await look(opened(), "Authors", "99")
        assert (found.held, found.is_equal, found.primary) == (HeldState.NO_SUCH_ROW, True, None)
        found, _ = await look(opened(), "Authors", "2")
        assert (found.held, found.is_equal) == (HeldState.ABSENT, None)


async def test_what_differs_is_told(opened: Make) -> None:
    async with opened() as db:
        await db[Authors].get(1)
        await until(lambda: db[Authors]._peek(1) is not None, "the fill has landed")
        async with db.plan.topology.write_engine.connect() as connection:
            raw = await connection.get_raw_connection()
            assert raw.driver_connection is not None
            await raw.driver_connection.execute("UPDATE authors SET email = 'z@x' WHERE id = 1")
        found, _ = await look(opened(), "Authors", "1")
    assert found.is_equal is False


def test_sizes_say_no_value() -> None:
    assert [size_of(each) for each in (None, 7, "abc", b"ab")] == [
        "NULL",
        "int",
        "str of 3",
        "bytes of 2",
    ]


async def test_keys_are_forgotten_everywhere(opened: Make) -> None:
    async with opened() as db:
        await db[Authors].get_many([1, 2])
        await until(lambda: db[Authors]._peek(2) is not None, "the fills have landed")
        told = await run_invalidate(opened(), "Authors", ["1"])
        assert "author:1" in told
        await until(lambda: db[Authors]._peek(1) is None, "the other process has heard")
        assert db[Authors]._peek(2) is not None
        assert "author" in await run_clear(opened(), "author")
        await until(lambda: db[Authors]._peek(2) is None, "the other process has heard")


async def test_without_redis_nothing_is_said_to_be_done(
    opened: Make, repocache_controls: Servers
) -> None:
    repocache_controls.redis.stop()
    with pytest.raises(CacheUnavailable):
        await run_invalidate(opened(), "Authors", ["1"])
    found, tags = await look(opened(), "Authors", "1")
    assert found.unreachable
    assert (found.primary or {})["id"] == 1
    assert tags == {}
    [answer] = (await run_behind(opened(), None, (None, None))).values()
    assert (answer.changes, answer.letters, bool(answer.why)) == (None, 0, True)
    assert behind_command.is_trouble(answer), "what waits is not known: not all is as it should be"


async def test_what_waits_and_what_was_refused(opened: Make) -> None:
    async with opened() as db:
        async with db.unit_of_work() as work:
            await work.session.execute(text("ALTER TABLE hits ADD CHECK (hits < 5)"))
            work.changes(Posts)
            await work.commit()
        await db[Hits].add(1, hits=3)
        await db[Hits].add(2, hits=9)
        await db[Hits].flushed()
    found = await run_behind(opened(), None, (None, None))
    [answer] = found.values()
    assert (answer.changes, answer.letters, answer.done) == (0, 1, None)
    [letter] = answer.listed
    told = str(behind_command.document_of(answer))
    assert letter.key == "hit:2"
    assert "hits" in told
    [answer] = (await run_behind(opened(), "hit", ([letter.id], None))).values()
    assert (answer.letters, answer.done) == (1, 0), "refused again"
    [answer] = (await run_behind(opened(), "Hits", (None, "all"))).values()
    assert (answer.letters, answer.done, answer.asked) == (0, 1, "dropped")
    assert not behind_command.is_trouble(answer)


async def test_an_owner_of_another_kind_is_led_to_its_own_command(opened: Make) -> None:
    with pytest.raises(CommandRefused, match="written behind: `repocache behind` shows it"):
        await look(opened(), "Hits", "1")
    with pytest.raises(CommandRefused, match="nothing that this command is for"):
        await run_behind(opened(), "Authors", (None, None))


def shown(show: Callable[[Console], None]) -> str:
    console = Console(width=200, record=True)
    with console.capture() as captured:
        show(console)
    return captured.get()


def test_lines_of_what_waits() -> None:
    answer: Any = behind_command.BehindAnswer(changes=7, seconds=2.0, letters=0)
    text = shown(lambda console: behind_command.show(console, {"hit": answer}))
    assert text == "hit: 7 pending changes, the first for 2.0 s; 0 dead letters\n"
