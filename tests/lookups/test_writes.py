"""What a write tells lookups, and that nobody then finds what is no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, event, func, insert, text, update
from sqlalchemy.dialects import postgresql

from repocache import NotFound, UnitOfWork
from repocache.tracking.cascades import MOST_ASKED
from tests.lookups.accounts import (
    Account,
    Accounts,
    Bosses,
    Page,
    Pages,
    Person,
    Players,
    Team,
    token,
)
from tests.shop import Shop

WHOLE = None
Write = Callable[[UnitOfWork], Awaitable[object]]
Told = dict[str, set[str] | None]


async def told(shop: Shop, work: UnitOfWork) -> Told:
    """The lookups' keys that the transaction has changed so far."""
    await work.session.flush()
    connection = (await work.session.connection()).sync_connection
    assert connection is not None
    changes: Any = shop.db._started.watch.transaction_of(connection).changes
    found: Told = dict.fromkeys(changes.whole, WHOLE)
    found |= {prefix: set(keys) for prefix, keys in changes.keys.items()}
    return {prefix: keys for prefix, keys in found.items() if "-" in prefix}


def emails(*values: str) -> set[str]:
    return {f"account-by_email:{value}%40x" for value in values}


def tokens(*numbers: int) -> set[str]:
    return {f"account-by_token:{token(number).hex}" for number in numbers}


async def _rename(work: UnitOfWork) -> None:
    (await work[Accounts].require(7)).name = "new"


async def _one(work: UnitOfWork) -> None:
    (await work[Accounts].require(7)).email = "new@x"


async def _several(work: UnitOfWork) -> None:
    """A flush sends them as one list."""
    for account in (await work[Accounts].get_many([7, 8, 9])).values():
        account.email = f"new{account.id}@x"


async def _swap(work: UnitOfWork) -> None:
    seven, eight = (await work[Accounts].get_many([7, 8])).values()
    seven.email, eight.email = None, "7@x"
    await work.session.flush()
    seven.email = "8@x"


async def _to_null(work: UnitOfWork) -> None:
    (await work[Accounts].require(7)).email = None


async def _from_null(work: UnitOfWork) -> None:
    (await work[Accounts].require(10)).email = "new@x"


async def _delete(work: UnitOfWork) -> None:
    await work.delete(await work[Accounts].require(7))


async def _delete_several(work: UnitOfWork) -> None:
    for account in (await work[Accounts].get_many([7, 8, 10])).values():
        await work.delete(account)


async def _add(work: UnitOfWork) -> None:
    work.add(Account(id=70, name="new", email="new@x", token=token(70)))
    work.add(Account(id=71, name="new", token=token(71)))


def core(statement: Any, *parameters: Any) -> Write:
    async def write(work: UnitOfWork) -> None:
        await (await work.session.connection()).execute(statement, *parameters)

    return write


def orm(statement: Any) -> Write:
    async def write(work: UnitOfWork) -> None:
        await work.session.execute(statement)

    return write


teams: Any = Team.__table__
people: Any = Person.__table__
accounts: Any = Account.__table__
UPSERT = postgresql.insert(accounts)

BOTH: Told = {"account-by_email": WHOLE, "account-by_token": WHOLE}

ROW = {"id": 70, "email": "new@x", "name": "n", "token": token(70)}
WRITES: dict[str, tuple[Write, Told]] = {
    "another column": (_rename, {}),
    "an entity": (_one, {"account-by_email": emails("7", "new")}),
    "several entities": (
        _several,
        {"account-by_email": emails("7", "8", "9", "new7", "new8", "new9")},
    ),
    "two that swap": (_swap, {"account-by_email": emails("7", "8")}),
    "to NULL": (_to_null, {"account-by_email": emails("7")}),
    "from NULL": (_from_null, {"account-by_email": emails("new")}),
    "an entity that goes": (
        _delete,
        {"account-by_email": emails("7"), "account-by_token": tokens(7)},
    ),
    "several that go": (
        _delete_several,
        {"account-by_email": emails("7", "8"), "account-by_token": tokens(7, 8, 10)},
    ),
    "entities that come": (
        _add,
        {"account-by_email": emails("new"), "account-by_token": tokens(70, 71)},
    ),
    "UPDATE by id": (
        core(update(accounts).where(accounts.c.id == 7).values(email="new@x")),
        {"account-by_email": emails("7", "new")},
    ),
    "UPDATE of the ORM by id": (
        orm(update(Account).where(Account.id == 7).values(email="new@x")),
        {"account-by_email": emails("7", "new")},
    ),
    "UPDATE by its own value": (
        core(update(accounts).where(accounts.c.email == "7@x").values(email="new@x")),
        {"account-by_email": emails("7", "new")},
    ),
    "UPDATE of one that is not there": (
        core(update(accounts).where(accounts.c.id == 700).values(email="new@x")),
        {"account-by_email": emails("new")},
    ),
    "UPDATE by another condition": (
        core(update(accounts).where(accounts.c.name == "n7").values(email="new@x")),
        {"account-by_email": WHOLE},
    ),
    "UPDATE by another condition, of another column": (
        core(update(accounts).where(accounts.c.name == "n7").values(name="m")),
        {},
    ),
    "UPDATE by an expression": (
        core(update(accounts).where(accounts.c.id == 7).values(email=func.upper("n@x"))),
        {"account-by_email": WHOLE},
    ),
    "UPDATE of the id": (
        core(update(accounts).where(accounts.c.id == 7).values(id=70)),
        {"account-by_email": emails("7"), "account-by_token": tokens(7)},
    ),
    "DELETE by another condition": (
        core(delete(accounts).where(accounts.c.name.in_(["n7", "n10"]))),
        {"account-by_email": emails("7"), "account-by_token": tokens(7, 10)},
    ),
    "DELETE of all": (core(delete(accounts)), BOTH),
    "INSERT": (
        core(insert(accounts).values(ROW)),
        {"account-by_email": emails("new"), "account-by_token": tokens(70)},
    ),
    "INSERT of a list": (
        core(insert(accounts), [ROW, {**ROW, "id": 71, "email": None, "token": token(71)}]),
        {"account-by_email": emails("new"), "account-by_token": tokens(70, 71)},
    ),
    "INSERT ... ON CONFLICT (id) DO UPDATE SET name": (
        core(
            UPSERT.values({**ROW, "id": 7}).on_conflict_do_update(
                index_elements=["id"], set_={"name": UPSERT.excluded.name}
            )
        ),
        {"account-by_email": emails("new"), "account-by_token": tokens(70)},
    ),
    "INSERT ... ON CONFLICT (email) DO UPDATE SET name": (
        core(
            UPSERT.values({**ROW, "email": "7@x"}).on_conflict_do_update(
                index_elements=["email"], set_={"name": UPSERT.excluded.name}
            )
        ),
        {"account-by_email": emails("7"), "account-by_token": tokens(70)},
    ),
    "INSERT ... ON CONFLICT (id) DO UPDATE SET email": (
        core(
            UPSERT.values({**ROW, "id": 7}).on_conflict_do_update(
                index_elements=["id"], set_={"email": UPSERT.excluded.email}
            )
        ),
        {"account-by_email": WHOLE, "account-by_token": tokens(70)},
    ),
    "INSERT from a SELECT": (
        core(
            insert(accounts).from_select(
                ["id", "email", "name", "token"],
                text("SELECT 70, 'new@x', 'n', gen_random_uuid()").columns(
                    id=accounts.c.id.type,
                    email=accounts.c.email.type,
                    name=accounts.c.name.type,
                    token=accounts.c.token.type,
                ),
            )
        ),
        BOTH,
    ),
    "part of a value": (
        orm(update(Page).where(Page.tenant == 1, Page.number == 2).values(slug="new")),
        {"page-by_slug": {"page-by_slug:1:s2", "page-by_slug:1:new"}},
    ),
    "a row that changes its class": (
        core(update(people).where(people.c.id == 1).values(kind="boss")),
        {"boss-by_badge": {"boss-by_badge:p"}},
    ),
    "a parent that takes rows along": (
        core(delete(teams).where(teams.c.id == 2)),
        {"player-by_nick": {f"player-by_nick:p{n}" for n in (1, 3, 5)}},
    ),
    "TRUNCATE": (core(text("TRUNCATE accounts")), BOTH),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_tells_old_and_new_values(shop: Shop, name: str) -> None:
    write, expected = WRITES[name]
    async with shop.db.unit_of_work() as work:
        await write(work)
        assert await told(shop, work) == expected
        await work.rollback()


async def everything(shop: Shop, *, cached: bool) -> dict[str, Any]:
    """Who has which value, as caches say or as the primary does."""
    found: dict[str, Any] = {}
    asked: list[tuple[Any, Any, list[Any]]] = [
        (
            Accounts,
            "by_email",
            [*(f"{n}@x" for n in range(21)), "new@x", "N@X", "new7@x", "new8@x"],
        ),
        (Accounts, "by_token", [token(n) for n in (7, 8, 10, 70, 71)]),
        (Pages, "by_slug", [(t, s) for t in (1, 2) for s in ("s1", "s2", "new")]),
        (Bosses, "by_badge", ["p", "b"]),
        (Players, "by_nick", ["p1", "p2", "p3"]),
    ]
    for repository, name, values in asked:
        reader = shop.db[repository] if cached else shop.db[repository].on_primary()
        lookup = getattr(reader, name)
        for value, entity in (await lookup.get_many(values)).items():
            found[f"{name} {value}"] = (getattr(entity, "id", None), getattr(entity, "name", None))
        for value in values:
            one = await lookup.get(value)
            assert (one is not None) is (f"{name} {value}" in found)
    return found


@pytest.mark.parametrize("name", WRITES)
async def test_the_session_finds_what_it_wrote(shop: Shop, other: Shop, name: str) -> None:
    """At once in its own process, and in the next request in another that had all values at
    hand."""
    for each in (shop, other):
        await everything(each, cached=True)
    async with shop.db.causal_session(None) as session:
        async with shop.db.unit_of_work() as work:
            await WRITES[name][0](work)
            await work.commit()
        truth = await everything(shop, cached=False)
        assert await everything(shop, cached=True) == truth
        bookmark = session.encode()
    async with other.db.causal_session(bookmark):
        assert await everything(other, cached=True) == truth


async def sent_by(shop: Shop, write: Write) -> int:
    """How many statements it is."""
    sent: list[str] = []

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        sent.append(statement)

    async with shop.db.unit_of_work() as work:
        await (await work.session.connection()).execute(text("SELECT 1"))
        event.listen(shop.db.engine.sync_engine, "before_cursor_execute", hear)
        try:
            await write(work)
            await work.session.flush()
        finally:
            event.remove(shop.db.engine.sync_engine, "before_cursor_execute", hear)
        await work.rollback()
    return len(sent)


async def test_only_writes_of_its_columns_pay_for_a_lookup(shop: Shop) -> None:
    # What the role may do is asked once.
    await sent_by(shop, core(update(accounts).where(accounts.c.id == 7).values(email="x@x")))
    for statement, statements in (
        (update(accounts).where(accounts.c.id == 7).values(name="new"), 1),
        (update(accounts).where(accounts.c.id == 7).values(email="new@x"), 2),
        (delete(accounts).where(accounts.c.id == 7), 1),
        (insert(accounts).values(ROW), 1),
    ):
        assert await sent_by(shop, core(statement)) == statements, statement


async def test_of_many_rows_all_is_told(shop: Shop) -> None:
    many = [{"key": n, "to": f"new{n}@x"} for n in range(1, MOST_ASKED + 2)]
    of_key = accounts.c.id == bindparam("key")
    statement = update(accounts).where(of_key).values(email=bindparam("to"))
    for rows, whole in ((many[:-1], False), (many, True), (many[1::-1], True)):
        async with shop.db.unit_of_work() as work:
            await core(statement, rows)(work)
            found = (await told(shop, work))["account-by_email"]
            assert (found is WHOLE) is whole, len(rows)
            await work.rollback()


async def test_a_rollback_to_a_savepoint_takes_back_what_was_told(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        with suppress(NotFound):
            async with work.savepoint():
                await _one(work)
                await work[Accounts].require(700)
        await _to_null(work)
        assert await told(shop, work) == {"account-by_email": emails("7")}
        await work.rollback()


async def test_the_old_value_is_that_of_the_row_as_locked(shop: Shop) -> None:
    """Not the one that the session has loaded: another may have changed it since."""
    async with shop.db.unit_of_work() as work:
        account = await work[Accounts].require(7)
        async with shop.db.unit_of_work() as faster:
            (await faster[Accounts].require(7)).email = "between@x"
            await faster.commit()
        account.email = "new@x"
        assert await told(shop, work) == {"account-by_email": emails("between", "new")}
        await work.rollback()


async def test_in_a_unit_of_work_it_sees_its_own_changes(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        by_email = work[Accounts].by_email
        account = await by_email.require("7@x")
        assert account in work.session
        account.email = "new@x"
        assert await by_email.require("new@x") is account
        assert await by_email.get("7@x") is None
        assert list(await by_email.get_many(["8@x", "new@x", "7@x"])) == ["8@x", "new@x"]
        assert await work[Pages].by_slug.exists((1, "s1"))
        await work.rollback()
    assert (await shop.db[Accounts].by_email.require("7@x")).id == 7
