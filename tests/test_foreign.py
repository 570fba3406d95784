"""What is shown of others' errors: words about servers, none about values."""

from __future__ import annotations

import re
import smtplib
import socket
import sqlite3
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import Executable, create_engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from repocache.errors import CacheUnavailable, CodecError
from repocache.redaction.foreign import MOST, in_brief
from repocache.testing import Endpoints


def raised(function: Any, *arguments: Any) -> BaseException:
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return caught.value


def test_our_own_words_are_shown() -> None:
    assert in_brief(CacheUnavailable("Redis: away")) == "Redis: away"


@pytest.mark.parametrize(
    "error, shown",
    [
        (
            ConnectionRefusedError(111, "Connect call failed"),
            "ConnectionRefusedError: [Errno 111] Connect call failed",
        ),
        (TimeoutError(), "TimeoutError"),
        (OSError("first\nsecret"), "OSError: first"),
        (
            socket.gaierror(-2, "Name or service not known"),
            "gaierror: [Errno -2] Name or service not known",
        ),
        (smtplib.SMTPException("secret"), "SMTPException"),
        (RuntimeError("secret"), "RuntimeError"),
        (ExceptionGroup("secret", [KeyError("secret")]), "ExceptionGroup"),
        (OSError("x" * 999), f"OSError: {'x' * MOST}"),
        (KeyError("secret"), "KeyError"),
        (AssertionError("secret"), "AssertionError"),
        (asyncpg.InvalidPasswordError('password authentication failed for user "app"'), None),
        (asyncpg.UniqueViolationError("secret"), "UniqueViolationError"),
        (asyncpg.RaiseError("secret"), "RaiseError"),
        (asyncpg.DataError("secret"), "DataError"),
        (asyncpg.InterfaceError("connection is closed"), "InterfaceError: connection is closed"),
    ],
)
def test_words_about_values_are_not(error: Exception, shown: str | None) -> None:
    if shown is None:
        shown = f"{type(error).__name__}: {error}"
    assert in_brief(error) == shown


@pytest.mark.parametrize(
    "error",
    [
        raised(int, "secret"),
        raised(msgspec.convert, "secret", int),
        raised(dict[str, int]().pop, "secret"),
    ],
)
def test_where_it_was_raised_is_told_in_their_place(error: BaseException) -> None:
    assert re.fullmatch(rf"{type(error).__name__} at test_foreign\.py:\d+", in_brief(error))


def test_a_value_of_sqlites_is_not_shown() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT missing FROM t WHERE x = :x"), {"x": "secret"})
    assert isinstance(caught.value.orig, sqlite3.Error)
    assert in_brief(caught.value) == "OperationalError: no such table: t"


async def test_of_a_statement_neither_parameters_nor_rows(repocache_endpoints: Endpoints) -> None:
    engine = create_async_engine(repocache_endpoints.primary)
    given: dict[str, tuple[Executable, dict[str, str]]] = {
        "a text for a number": (text("SELECT CAST(:x AS int)"), {"x": "secret"}),
        "a number's text that is none": (
            text("SELECT CAST(CAST(:x AS text) AS int)"),
            {"x": "secret"},
        ),
        "a function's own words": (text("DO $$ BEGIN RAISE 'secret'; END $$"), {}),
        "no such table": (text("SELECT 1 FROM nowhere WHERE 'a' = :x"), {"x": "secret"}),
    }
    shown = {}
    for name, (statement, parameters) in given.items():
        async with engine.connect() as connection:
            with pytest.raises(SQLAlchemyError) as caught:
                await connection.execute(statement, parameters)
        assert "secret" in f"{caught.value}"
        shown[name] = in_brief(caught.value).partition(" at ")[0]
    assert shown == {
        "a text for a number": "DataError",
        "a number's text that is none": "InvalidTextRepresentationError",
        "a function's own words": "RaiseError",
        "no such table": 'UndefinedTableError: relation "nowhere" does not exist',
    }
    await engine.dispose()


def test_a_codec_error_is_ours() -> None:
    assert (
        in_brief(CodecError("a row does not begin with b'x'")) == "a row does not begin with b'x'"
    )
