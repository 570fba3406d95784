"""Which statements must go to the primary."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import (
    Sequence,
    delete,
    exists,
    extract,
    func,
    insert,
    lambda_stmt,
    literal_column,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.orm import aliased, selectinload
from sqlalchemy.schema import CreateTable
from sqlalchemy.sql.functions import GenericFunction

from repocache.tracking import writes
from tests.tracking.shop import Post, User, posts


class Shout(GenericFunction[str]):
    """Somebody's own function, whatever it does."""

    name = "lower"
    identifier = "repocache_test_shout"


changed = update(Post).values(title="x").returning(Post.id).cte()
other = aliased(Post)


@pytest.mark.parametrize(
    "statement",
    [
        insert(Post),
        update(Post),
        delete(Post),
        select(Post).with_for_update(),
        select(Post).with_for_update(read=True, skip_locked=True),
        select(select(Post.id).with_for_update().subquery()),
        select(changed),
        select(1).add_cte(changed),
        select(Post).where(Post.id.in_(select(changed.c.id))),
        text("SELECT 1"),
        text("SELECT id FROM post").columns(Post.id),
        select(Post).from_statement(text("SELECT * FROM post")),
        select(func.nextval("x")),
        select(Post).where(Post.title == func.set_config("a", "b", True)),
        select(Sequence("x").next_value()),
        select(func.app.count()),
        select(Shout("x")),
        select(literal_column("nextval('x')")),
        select(Post).where(text("pg_advisory_lock(1)")),
        select(func.unnest(func.my_own(Post.id)).table_valued("x")),
        union_all(select(Post.id), select(func.nextval("x"))),
        CreateTable(posts),
        lambda_stmt(lambda: select(Post)),
    ],
)
def test_what_may_write(statement: Any) -> None:
    assert writes(statement)


@pytest.mark.parametrize(
    "statement",
    [
        select(Post),
        select(Post.id, func.count(), func.max(Post.title).over(partition_by=Post.user_id)),
        select(func.count("*"), func.COUNT(), func.pg_catalog.lower(Post.title)),
        select(User).where(User.posts.any(Post.title == "x")).options(selectinload(User.posts)),
        select(Post).where(exists().where(other.id == Post.id)),
        select(Post).where(text("title = 'x'"), literal_column("1") == 1),
        select(extract("year", User.updated_at), func.now(), func.current_timestamp()),
        select(func.coalesce(func.lower(Post.title), "")).order_by(Post.id.desc()).limit(5),
        select(select(Post.id).cte("x")),
        union_all(select(Post.id), select(User.id)),
        select(func.unnest([1]).table_valued("x")),
    ],
)
def test_what_surely_reads(statement: Any) -> None:
    assert not writes(statement)
