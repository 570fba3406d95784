"""Which columns store a value as it is given."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.types import TypeDecorator, TypeEngine

from repocache.tracking.trusted import is_trusted


class Nothing(TypeDecorator[str]):
    impl = sa.String
    cache_ok = True


class Chosen(Nothing):
    """As SQLModel's text, which says for each database what it is."""

    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:
        return sa.String(20)


class Padding(Nothing):
    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:
        return sa.CHAR(20) if dialect.name == "postgresql" else sa.String()


class Raising(Nothing):
    def load_dialect_impl(self, dialect: Any) -> TypeEngine[Any]:
        raise NotImplementedError


class Lower(Nothing):
    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return value.lower()


class Around(TypeDecorator[str]):
    impl = Lower
    cache_ok = True


@pytest.mark.parametrize(
    "type_, expected",
    [
        (sa.String(), True),
        (sa.Boolean(), True),
        (sa.Uuid(), True),
        (sa.Uuid(as_uuid=False), False),
        (pg.UUID(as_uuid=False), False),
        (pg.CITEXT(), False),
        (sa.CHAR(3), False),
        (pg.DOMAIN("mail", pg.CITEXT()), False),
        (pg.DOMAIN("code", sa.CHAR(3)), False),
        (sa.DateTime(), False),
        (Nothing(), True),
        (Chosen(), True),
        (Padding(), False),
        (Raising(), False),
        (Lower(), False),
        (Around(), False),
        (sa.Integer().with_variant(Lower(), "sqlite"), False),
    ],
    ids=repr,
)
def test_a_column_that_does_nothing_to_a_value_is_trusted(
    type_: TypeEngine[Any], expected: bool
) -> None:
    assert is_trusted(sa.Column("a", type_)) is expected
