"""What a plan gives beside what a session gives, attribute by attribute."""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import inspect, make_url
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from repocache.mapping.plan import EntityPlan
from tests.cache.exactly import exactly

M = TypeVar("M")


def dialect_of(name: str) -> Dialect:
    """Of a database and driver, as in a URL."""
    dialect: Dialect = make_url(f"{name}://").get_dialect()()
    return dialect


async def load_rows(
    engine: AsyncEngine, plan: EntityPlan[Any], ids: Sequence[Any]
) -> dict[Any, tuple[Any, ...]]:
    """The rows by id, loaded as the library loads them."""
    statement = plan.statement_for(engine.dialect)
    async with engine.connect() as connection:
        result = await connection.execute(statement.select, statement.parameters(ids))
        rows = [plan.row(row) for row in result]
    return {plan.id_of_row(row): row for row in rows}


async def session_get(engine: AsyncEngine, model: type[M], id: Any) -> M | None:
    async with AsyncSession(engine) as session:
        entity = await session.get(model, id)
        session.expunge_all()
    return entity


async def entity_pair(engine: AsyncEngine, plan: EntityPlan[M], id: Any) -> tuple[M, M]:
    """An entity of a row that has been to the cache and back, and the session's."""
    row = (await load_rows(engine, plan, [id]))[id]
    codec = plan.codec()
    loaded = await session_get(engine, plan.model, id)
    assert loaded is not None
    return plan.entity(codec.decode(codec.encode(row))), loaded


def outcome(entity: object, name: str) -> Any:
    """The value with its type, or the kind of error that reading it gives."""
    try:
        return exactly(getattr(entity, name))
    except Exception as error:  # noqa: BLE001  # which one it is is the question
        return type(error)


def assert_alike(made: object, loaded: object) -> None:
    """The same class, identity, attributes and errors; clean and detached."""
    state, other = inspect(made), inspect(loaded)
    assert state is not None
    assert other is not None
    assert type(made) is type(loaded)
    assert state.detached
    assert not state.modified
    assert state.key == other.key
    assert state.unloaded == other.unloaded
    assert set(vars(made)) == set(vars(loaded))
    for name in state.mapper.all_orm_descriptors.keys():  # noqa: SIM118  # not a mapping
        assert (name, outcome(made, name)) == (name, outcome(loaded, name))
    for attribute in state.attrs:
        assert not attribute.history.has_changes() or attribute.key in state.unloaded, attribute.key
