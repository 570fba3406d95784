"""What an application is told of a statement, so that two sessions can be compared; and what
numbers stand for."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession


def told(result: Any) -> tuple[Any, ...]:
    """All that a result says."""
    returns = result.returns_rows
    try:
        rows: Any = sorted(map(tuple, result.all()), key=repr)
    except InvalidRequestError as error:
        rows = type(error).__name__
    try:
        made: Any = [
            None if each is None else tuple(each) for each in result.inserted_primary_key_rows
        ]
    except InvalidRequestError as error:
        made = type(error).__name__
    defaults = result.returned_defaults_rows
    return returns, result.rowcount, rows, made, None if defaults is None else len(defaults)


async def core(session: AsyncSession, statement: Any, parameters: Any = None) -> tuple[Any, ...]:
    return told(await (await session.connection()).execute(statement, parameters))


async def orm(session: AsyncSession, statement: Any, parameters: Any = None) -> Any:
    result = await session.execute(statement, parameters)
    return getattr(result, "rowcount", None), getattr(result, "returns_rows", None)


def code(n: int) -> str:
    """Some are too long for their column by blanks."""
    return "ab"[n % 2] * (n % 3 + 1) + " " * (n % 4)


def title(n: int) -> str:
    return "abc"[n % 3]
