"""What a commit leaves in Redis under write-through: the row as the database has it, or nothing."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

from sqlalchemy import Connection, delete, event, insert, select, text, update

from tests.writethrough.ledger import Account, Accounts, Ledger, Line, LineId, Lines


async def test_a_commit_leaves_the_row_for_the_next_reader(ledger: Ledger, other: Ledger) -> None:
    await ledger.settle(Accounts, 1)
    await ledger.rename(1, "new")
    assert ledger.stored == [(1, 1)]
    assert (await ledger.in_l2(Accounts, 1)).name == "new"
    ledger.served()
    assert (await ledger.accounts.require(1)).name == "new"
    assert (await other.accounts.require(1)).name == "new"
    assert ledger.served() == ["l2"]
    assert set(other.served()) == {"l2"}


async def test_what_the_database_made_of_the_row_is_stored(ledger: Ledger) -> None:
    """Server-side defaults, generated columns, expressions."""
    await ledger.settle(Accounts, 1)
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(
            update(Account).where(Account.id == 1).values(balance=Account.balance + 1)
        )
        await work.session.execute(insert(Account).values(id=1000, name="made"))
        await work.commit()
    stored = await ledger.in_l2(Accounts, 1)
    assert (stored.balance, stored.twice) == (Decimal(2), Decimal(4))
    stored = await ledger.in_l2(Accounts, 1000)
    assert stored is None or (stored.balance, stored.twice) == (Decimal(0), Decimal(0))


async def test_a_record_that_this_process_has_not_met_is_asked(
    ledger: Ledger, other: Ledger
) -> None:
    await other.settle(Accounts, 1)
    await ledger.rename(1, "new")
    assert ledger.stored == [(1, 1)]
    assert (await ledger.in_l2(Accounts, 1)).name == "new"


async def test_a_record_whose_floor_is_unknown_takes_nothing(ledger: Ledger) -> None:
    await ledger.rename(1, "new")
    assert ledger.stored == [(1, 0)]
    assert await ledger.in_l2(Accounts, 1) is None
    assert (await ledger.accounts.require(1)).name == "new"


async def test_a_column_that_another_writer_changed_is_not_lost(
    ledger: Ledger, other: Ledger
) -> None:
    """The session loaded the row before the other commit, and writes one column of it."""
    await ledger.settle(Accounts, 1)
    async with ledger.db.unit_of_work() as work:
        account = await work[Accounts].require(1)
        async with other.db.unit_of_work() as theirs:
            (await theirs[Accounts].require(1)).balance = Decimal(99)
            await theirs.commit()
        account.name = "mine"
        await work.commit()
    stored = await ledger.in_l2(Accounts, 1)
    assert (stored.name, stored.balance) == ("mine", Decimal(99))


async def test_deleted_rows_are_invalidated_and_inserted_ones_replace_that_there_was_none(
    ledger: Ledger,
) -> None:
    await ledger.settle(Accounts, 1)
    await ledger.rename(1, "new")
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(delete(Account).where(Account.id == 1))
        await work.commit()
    assert await ledger.in_l2(Accounts, 1) is None
    assert await ledger.accounts.get(1) is None
    assert await ledger.in_l2(Accounts, 1) == "absent"
    async with ledger.db.unit_of_work() as work:
        work.add(Account(id=1, name="back", balance=Decimal(5)))
        await work.commit()
    assert (await ledger.in_l2(Accounts, 1)).name == "back"


async def test_a_row_that_moves_to_another_key_is_stored_there(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 1, 900)
    await ledger.accounts.get(1)
    async with ledger.db.unit_of_work() as work:
        (await work[Accounts].require(1)).id = 900
        await work.commit()
    assert await ledger.in_l2(Accounts, 1) is None
    assert (await ledger.in_l2(Accounts, 900)).name == "n1"


async def test_composite_keys(ledger: Ledger) -> None:
    await ledger.settle(Lines, LineId(1, 1), LineId(1, 2))
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(
            update(Line).where(Line.account == 1, Line.number < 3).values(text="new")
        )
        await work.commit()
    assert ledger.stored == [(2, 2)]
    assert (await ledger.in_l2(Lines, LineId(1, 2))).text == "new"


async def test_what_a_savepoint_took_back_is_not_stored(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 1, 2)
    async with ledger.db.unit_of_work() as work:
        with suppress(ZeroDivisionError):
            async with work.savepoint():
                (await work[Accounts].require(1)).name = "rolled back"
                await work.session.flush()
                raise ZeroDivisionError
        (await work[Accounts].require(2)).name = "kept"
        await work.commit()
    assert ledger.stored == [(1, 1)]
    assert await ledger.in_l2(Accounts, 1) is None
    assert (await ledger.in_l2(Accounts, 2)).name == "kept"


async def test_bulk_changes_with_known_keys_are_stored_up_to_a_bound(ledger: Ledger) -> None:
    await ledger.settle(Accounts, *range(1, 11))
    await _bulk(ledger, 10)
    await _bulk(ledger, 101)
    assert ledger.stored == [(10, 10)]
    assert await ledger.in_l2(Accounts, 1) is None


async def _bulk(ledger: Ledger, rows: int) -> None:
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(
            update(Account).where(Account.id <= rows).values(balance=Account.balance + 1)
        )
        await work.commit()


async def test_declared_keys_are_stored_under_a_lock_of_their_own(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 1)
    async with ledger.db.unit_of_work() as work:
        await work.session.execute(text("UPDATE account SET name = 'raw' WHERE id = 1"))
        work.changes(Accounts, ids=[1])
        await work.commit()
    assert (await ledger.in_l2(Accounts, 1)).name == "raw"


async def test_a_row_that_somebody_else_has_locked_is_not_waited_for(
    ledger: Ledger, other: Ledger
) -> None:
    await ledger.settle(Accounts, 1)
    async with other.db.unit_of_work() as theirs:
        await theirs.session.execute(select(Account).where(Account.id == 1).with_for_update())
        async with ledger.db.unit_of_work() as work:
            work.changes(Accounts, ids=[1])
            await work.commit()
    assert ledger.stored == []
    assert await ledger.in_l2(Accounts, 1) is None


async def test_a_plain_session_and_a_connection_store_too(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 1, 2)
    async with ledger.db.sessionmaker() as session, session.begin():
        (await session.get_one(Account, 1)).name = "session"
    async with ledger.db._topology.write_engine.begin() as connection:
        await connection.execute(update(Account).where(Account.id == 2).values(name="core"))
    assert (await ledger.in_l2(Accounts, 1)).name == "session"
    assert (await ledger.in_l2(Accounts, 2)).name == "core"


async def test_a_rollback_stores_nothing(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 1)
    async with ledger.db.unit_of_work() as work:
        (await work[Accounts].require(1)).name = "never"
        await work.session.flush()
        await work.rollback()
    assert ledger.stored == []


async def test_a_session_reads_its_own_write_in_redis(ledger: Ledger) -> None:
    await ledger.settle(Accounts, 1)
    async with ledger.db.causal_session():
        await ledger.rename(1, "mine")
        ledger.served()
        assert (await ledger.accounts.require(1)).name == "mine"
    assert ledger.served() == ["l2"]


async def test_a_row_that_was_only_declared_fails_no_commit(ledger: Ledger, other: Ledger) -> None:
    """In REPEATABLE READ a row that was declared and not written may have changed since the
    snapshot, and locking it would fail the commit: nothing is read to be stored, and what was
    written is invalidated."""
    await ledger.settle(Accounts, 2)
    async with ledger.db._topology.write_engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        await connection.execute(update(Account).where(Account.id == 2).values(name="mine"))
        await other.rename(1, "theirs")
        tracked = (await connection.get_raw_connection()).info["repocache.transaction"]
        tracked.changes.declare("account", ["account:1", "account:2"])
        await connection.commit()
    assert await ledger.in_l2(Accounts, 2) is None
    assert [(await other.accounts.require(id)).name for id in (1, 2)] == ["theirs", "mine"]


async def test_what_is_written_after_the_rows_were_read_is_not_hidden(ledger: Ledger) -> None:
    """Another listener of COMMIT writes once more."""
    await ledger.settle(Accounts, 1)
    engine = ledger.db._topology.write_engine.sync_engine

    def write_once_more(connection: Connection) -> None:
        connection.execute(update(Account).where(Account.id == 1).values(name="last"))

    event.listen(engine, "commit", write_once_more)
    await ledger.rename(1, "first")
    event.remove(engine, "commit", write_once_more)
    assert await ledger.in_l2(Accounts, 1) is None
    assert (await ledger.accounts.require(1)).name == "last"
