"""Computed values: found again until a row is written that they were computed from."""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import func, select

from repocache import (
    CacheAside,
    ConfigurationError,
    Database,
    InvalidId,
    KeyOwner,
    Reader,
    ReadThrough,
    UsageError,
    read_through,
)
from repocache.testing import Endpoints, memory
from tests.cached.library import Author, Authors, Book, Books, open_library
from tests.shop import Shop, until

CALLS: list[Any] = []
SECRET: contextvars.ContextVar[str] = contextvars.ContextVar("SECRET", default="nobody")


class ShelfKey(msgspec.Struct, frozen=True):
    author: int
    language: str


class Shelf(msgspec.Struct, frozen=True):
    name: str
    titles: tuple[str, ...]
    seen_by: str


class Shelves(ReadThrough[ShelfKey, Shelf]):
    owner = KeyOwner("shelf")
    policy = CacheAside(ttl=300, local_ttl=60, negative_ttl=30)

    async def load(self, keys: Sequence[ShelfKey], reader: Reader) -> Mapping[ShelfKey, Shelf]:
        CALLS.append(list(keys))
        found = {}
        for key in keys:
            names = await reader.execute(select(Author.name).where(Author.id == key.author))
            read = select(Book.title).where(Book.author_id == key.author).order_by(Book.title)
            titles = tuple(title for (title,) in await reader.execute(read))
            if names:
                found[key] = Shelf(names[0].name, titles, SECRET.get())
        return found


class Rates(ReadThrough[str, int]):
    """Of what is elsewhere."""

    owner = KeyOwner("rate")
    policy = CacheAside(ttl=300, local_ttl=60)
    elsewhere: dict[str, int] = {}  # noqa: RUF012

    async def load(self, keys: Sequence[str], reader: Reader) -> Mapping[str, int]:
        CALLS.append(list(keys))
        reader.depends_on("rates")
        return {key: self.elsewhere[key] for key in keys if key in self.elsewhere}


@read_through(owner=KeyOwner("pages"), policy=CacheAside(ttl=300, local_ttl=60))
async def pages(author: int, *, reader: Reader) -> int | None:
    CALLS.append(author)
    [(count,)] = await reader.execute(select(func.sum(Book.pages)).where(Book.author_id == author))
    return None if count is None else int(count)


ALL = (Authors, Books, Shelves, Rates, pages)


@pytest.fixture
async def library(repocache_endpoints: Endpoints) -> AsyncIterator[Shop]:
    CALLS.clear()
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        yield shop


@pytest.fixture
async def other(repocache_endpoints: Endpoints, library: Shop) -> AsyncIterator[Shop]:
    async with open_library(repocache_endpoints, repositories=ALL) as shop:
        yield shop


async def kept(read: Any) -> Any:
    """Read until `load` is not called for it."""
    answer: Any = None

    async def again() -> bool:
        nonlocal answer
        before = len(CALLS)
        answer = await read()
        return len(CALLS) == before

    await until(again, "the value is kept")
    return answer


KEY = ShelfKey(1, "de")


async def test_a_value_is_computed_once_for_all_processes(library: Shop, other: Shop) -> None:
    found = await kept(lambda: library.db[Shelves].get(KEY))
    assert (found.name, found.titles) == ("n1", ("a1", "b1"))
    before = len(CALLS)
    assert await other.db[Shelves].get(KEY) == found
    assert await library.db[Shelves].get(ShelfKey(1, "de")) == found
    assert len(CALLS) == before


async def test_a_write_to_what_was_read_computes_it_anew(library: Shop, other: Shop) -> None:
    await kept(lambda: other.db[Shelves].get(KEY))
    async with library.db.unit_of_work() as work:
        (await work[Books].require(11)).title = "z1"
        bookmark = await work.commit()
    async with other.db.causal_session(bookmark):
        found = await other.db[Shelves].get(KEY)
    assert found is not None
    assert found.titles == ("b1", "z1")
    async with other.db.unit_of_work() as work:
        (await work[Authors].require(1)).name = "N"
        bookmark = await work.commit()
    async with library.db.causal_session(bookmark):
        again = await library.db[Shelves].require(KEY)
    assert (again.name, again.titles) == ("N", ("b1", "z1"))


async def test_a_write_to_another_s_rows_leaves_it_alone(library: Shop) -> None:
    await kept(lambda: library.db[Shelves].get(KEY))
    async with library.db.unit_of_work() as work:
        (await work[Books].require(21)).title = "z2"
        (await work[Books].require(11)).pages = 7
        await work.commit()
    before = len(CALLS)
    assert await library.db[Shelves].get(KEY) is not None
    assert len(CALLS) == before


async def test_nothing_of_the_caller_reaches_load(library: Shop) -> None:
    """A value that depends on who asks first would be given to all."""
    SECRET.set("a tenant")
    async with library.db.causal_session(None):
        found = await library.db[Shelves].require(KEY)
    assert found.seen_by == "nobody"


async def test_what_has_no_value_is_computed_when_it_appears(library: Shop) -> None:
    key = ShelfKey(9, "de")
    assert await kept(lambda: library.db[Shelves].get(key)) is None
    async with library.db.unit_of_work() as work:
        work.add(Author(id=9, name="n9"))
        bookmark = await work.commit()
    async with library.db.causal_session(bookmark):
        found = await library.db[Shelves].get(key)
    assert found is not None
    assert found.name == "n9"


async def test_many_are_loaded_together_in_the_order_asked(library: Shop) -> None:
    keys = [ShelfKey(number, "de") for number in (3, 1, 9, 2)]
    found = await library.db[Shelves].get_many(keys)
    assert [key.author for key in found] == [3, 1, 2]
    assert sorted(key.author for call in CALLS for key in call) == [1, 2, 3, 9]
    assert len(CALLS) == 1


async def test_callers_at_once_share_one_computation(library: Shop) -> None:
    await asyncio.gather(*(library.db[Shelves].get(KEY) for _ in range(50)))
    assert len(CALLS) == 1


async def test_a_tag_of_the_application_s_own(library: Shop, other: Shop) -> None:
    Rates.elsewhere.update({"EUR": 1})
    assert await kept(lambda: library.db[Rates].get("EUR")) == 1
    assert await other.db[Rates].get("EUR") == 1
    Rates.elsewhere.update({"EUR": 2})
    assert await library.db[Rates].get("EUR") == 1
    async with library.db.unit_of_work() as work:
        work.invalidate("rates")
        bookmark = await work.commit()
    for shop in (library, other):
        async with shop.db.causal_session(bookmark):
            assert await shop.db[Rates].get("EUR") == 2


async def test_one_function(library: Shop) -> None:
    assert await kept(lambda: library.db[pages](1)) == 200
    assert await library.db[pages](author=1) == 200
    async with library.db.unit_of_work() as work:
        (await work[Books].require(11)).pages = 7
        await work.commit()
    async with library.db.causal_session(None):
        assert await library.db[pages](1) == 107
    with pytest.raises(InvalidId):
        await library.db[pages]("1")
    with pytest.raises(TypeError):
        await library.db[pages]()


async def test_an_error_of_load_is_the_caller_s_and_not_kept(library: Shop) -> None:
    class Failing(Exception):
        pass

    failing = True

    async def load(self: Any, keys: Sequence[Any], reader: Reader) -> Mapping[Any, int]:
        if failing:
            raise Failing
        return dict.fromkeys(keys, 1)

    library.db[Rates]
    before, Rates.load = Rates.load, load  # type: ignore[method-assign]
    try:
        with pytest.raises(Failing):
            await library.db[Rates].get("X")
        failing = False
        assert await library.db[Rates].get("X") == 1
    finally:
        Rates.load = before  # type: ignore[method-assign]


class Loose(msgspec.Struct):
    x: int


class Pair(NamedTuple):
    a: int
    b: list[int]


async def loads(self: Any, keys: Any, reader: Any) -> Any:
    return {}


@pytest.mark.parametrize(
    "bases, declared, said",
    [
        (ReadThrough[int, int], {}, "owner"),
        (ReadThrough, {"owner": KeyOwner("x")}, "name the types"),
        (ReadThrough[Loose, int], {"owner": KeyOwner("x")}, "a key is one of"),
        (ReadThrough[Pair, int], {"owner": KeyOwner("x")}, "'b'"),
        (ReadThrough[int, Loose], {"owner": KeyOwner("x")}, "frozen"),
        (ReadThrough[int, list[int]], {"owner": KeyOwner("x")}, "tuple"),
        (ReadThrough[int, int], {"owner": KeyOwner("x"), "policy": 5}, "policy"),
        (ReadThrough[int, int], {"owner": KeyOwner("x"), "together": 0}, "together"),
        (ReadThrough[int, int], {"owner": KeyOwner("x"), "load": ReadThrough.load}, "load"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_construction(
    bases: Any, declared: dict[str, Any], said: str
) -> None:
    cls = types.new_class(
        "Bad", (bases,), exec_body=lambda ns: ns.update({"load": loads} | declared)
    )
    with pytest.raises(ConfigurationError, match=said):
        Database("postgresql+asyncpg://x@127.0.0.1/x", repositories=[Authors, Books, cls])


async def test_a_loader_does_not_ask_itself(library: Shop) -> None:
    with pytest.raises(UsageError, match="reader"):
        await Shelves.uncalled().get(KEY)
    with pytest.raises(UsageError, match="db"):
        Shelves()


async def test_in_memory() -> None:
    async with memory([Authors, Books, pages]) as db:
        async with db.unit_of_work() as work:
            work.add(Author(id=1, name="n"))
            work.add(Book(id=11, author_id=1, title="t", pages=5))
            await work.commit()
        assert await db[pages](1) == 5
        async with db.unit_of_work() as work:
            (await work[Books].require(11)).pages = 6
            await work.commit()
        assert await db[pages](1) == 6
