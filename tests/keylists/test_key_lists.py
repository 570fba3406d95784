"""Relationships to many whose ids are cached: what is answered, and what writes tell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import new_class
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import selectinload

from repocache import (
    ConfigurationError,
    Count,
    Database,
    InvalidId,
    KeyList,
    KeyOwner,
    Repository,
    UnitOfWork,
)
from repocache.errors import MappingRefused
from repocache.events import Served
from repocache.invalidation.batch import Batch
from repocache.repository.relations import Relations
from repocache.testing import Endpoints, Servers
from tests.keylists.blog import (
    Comment,
    Comments,
    Label,
    Labels,
    Post,
    Posts,
    labelled,
    make_blog,
    open_blog,
)
from tests.shop import Shop, until

LOAD: Relations = [Post.comments, (Post.labels, Label.posts)]
Write = Callable[[UnitOfWork], Awaitable[object]]


def shape(post: Post) -> Any:
    """All that was loaded of it."""
    labels = {each.name: sorted(other.id for other in each.posts) for each in post.labels}
    return post.title, [(each.id, each.text) for each in post.comments], labels


async def cached(shop: Shop) -> dict[int, Any]:
    posts = shop.db[Posts]
    found = await posts.get_many(range(1, 10), load=LOAD)
    counts = await posts.comment_count.get_many(range(1, 10))
    assert list(counts) == list(range(1, 10))
    assert counts == {id: await posts.comment_count.get(id) for id in range(1, 10)}
    assert {id: len(each.comments) for id, each in found.items()} == {
        id: counts[id] for id in found
    }
    assert await posts.comments.get_many(range(1, 10)) == {
        id: [each.id for each in found[id].comments] if id in found else [] for id in range(1, 10)
    }
    assert await posts.labels.get(4) == [each.name for each in found[4].labels]
    return {id: shape(each) for id, each in found.items()}


async def truth(shop: Shop) -> dict[int, Any]:
    async with shop.db.reading() as session:
        options = (selectinload(Post.comments), selectinload(Post.labels).selectinload(Label.posts))
        found = await session.scalars(select(Post).options(*options).order_by(Post.id))
        return {each.id: shape(each) for each in found}


async def warm(shop: Shop) -> None:
    """Everything is at hand."""

    async def nothing_asked() -> bool:
        before = len(shop.seen)
        await cached(shop)
        return not any(isinstance(each, Served) for each in shop.seen[before:])

    await until(nothing_asked, "all is in L1")


async def test_it_is_what_sqlalchemy_loads_and_then_asks_nobody(shop: Shop) -> None:
    expected = await truth(shop)
    assert await cached(shop) == expected
    assert expected[4] == (
        "p4",
        [(42, "c2"), (41, "c1"), (40, "c0")],
        {"a": [2, 4], "b": [2, 4]},
    )
    await warm(shop)
    assert await cached(shop) == expected


async def test_another_process_finds_them_in_redis(shop: Shop, other: Shop) -> None:
    await warm(shop)
    before = len(other.seen)
    assert await cached(other) == await cached(shop)
    tiers = {each.tier for each in other.seen[before:] if isinstance(each, Served)}
    # Of posts 6 to 9, which are not there, nothing may be kept any more.
    assert tiers <= {"l2", "database"}
    asked = [e for e in other.seen[before:] if isinstance(e, Served) and e.tier == "database"]
    assert {each.owner for each in asked} <= {"post", "post-comments", "post-comment_count"}


async def _new_comment(work: UnitOfWork) -> None:
    work.add(Comment(id=99, post_id=2, place=9, text="new"))


async def _move(work: UnitOfWork) -> None:
    (await work[Comments].require(20)).post_id = 3


async def _reorder(work: UnitOfWork) -> None:
    (await work[Comments].require(40)).place = 50


async def _text(work: UnitOfWork) -> None:
    (await work[Comments].require(40)).text = "new"


async def _remove(work: UnitOfWork) -> None:
    await work.delete(await work[Comments].require(40))


async def _by_collection(work: UnitOfWork) -> None:
    post = await work[Posts].require(4, load=[Post.comments, Post.labels])
    post.comments.pop()
    post.comments.append(Comment(text="new", place=-1))
    post.labels.clear()


async def _label(work: UnitOfWork) -> None:
    post = await work[Posts].require(1, load=[Post.labels])
    post.labels.append(await work[Labels].require("c"))


async def _post_goes(work: UnitOfWork) -> None:
    await work.session.execute(delete(Post).where(Post.id == 2))


async def _label_goes(work: UnitOfWork) -> None:
    await work.session.execute(delete(Label).where(Label.name == "a"))


def run(statement: Any, parameters: Any = None) -> Write:
    async def write(work: UnitOfWork) -> None:
        await (await work.session.connection()).execute(statement, parameters)

    return write


WRITES: dict[str, tuple[Write, set[str]]] = {
    "a child comes": (_new_comment, {"post-comments:2"}),
    "a child moves": (_move, {"post-comments:2", "post-comments:3"}),
    "a child's place": (_reorder, {"post-comments:4"}),
    "a child's text": (_text, set()),
    "a child goes": (_remove, {"post-comments:4"}),
    "by the collection": (_by_collection, {"post-comments:4", "post-labels:4"}),
    "a label": (_label, {"post-labels:1", "label-posts:c"}),
    "a post goes": (_post_goes, {"post-comments:2", "post-labels:2"}),
    "a label goes": (_label_goes, {"post-labels:2", "post-labels:4", "label-posts:a"}),
    "many move": (
        run(update(Comment).where(Comment.text == "c0").values(post_id=1)),
        {"post-comments:*"},
    ),
    "many go": (
        run(delete(Comment).where(Comment.text == "c1")),
        {"post-comments:3", "post-comments:4", "post-comments:5"},
    ),
    "a list comes": (
        run(insert(labelled), [{"post_id": 5, "label": "a"}, {"post_id": 5, "label": "c"}]),
        {"post-labels:5", "label-posts:a", "label-posts:c"},
    ),
    "a pair goes": (
        run(delete(labelled).where(labelled.c.post_id == 4, labelled.c.label == "b")),
        {"post-labels:4", "label-posts:b"},
    ),
    "TRUNCATE": (run(text("TRUNCATE labelled")), {"post-labels:*", "label-posts:*"}),
}


@pytest.mark.parametrize("name", WRITES)
async def test_a_write_tells_the_parents_and_its_session_sees_it(
    shop: Shop, other: Shop, name: str
) -> None:
    for each in (shop, other):
        await warm(each)
    write, expected = WRITES[name]
    async with shop.db.causal_session(None) as session:
        async with shop.db.unit_of_work() as work:
            await write(work)
            assert await told(shop, work) >= expected
            await work.commit()
        right = await truth(shop)
        assert await cached(shop) == right
        bookmark = session.encode()
    async with other.db.causal_session(bookmark):
        assert await cached(other) == right


async def told(shop: Shop, work: UnitOfWork) -> set[str]:
    """Keys of key lists that the transaction has changed so far; `*`: all of an owner."""
    await work.session.flush()
    connection = (await work.session.connection()).sync_connection
    assert connection is not None
    changes: Any = shop.db._started.watch.transaction_of(connection).changes
    keys = {key for texts in changes.keys.values() for key in texts}
    return {
        key
        for key in {*keys, *(f"{owner}:*" for owner in changes.whole)}
        if "-" in key.split(":")[0]
    }


async def test_without_redis_s_answer_the_database_gives_them(
    shop: Shop, repocache_servers: Servers
) -> None:
    await warm(shop)
    repocache_servers.redis.freeze()
    try:
        async with shop.db.causal_session(None):
            async with shop.db.unit_of_work() as work:
                await _move(work)
                await work.commit()
            assert await cached(shop) == await truth(shop)
    finally:
        repocache_servers.redis.thaw()


async def test_without_a_replica_the_others_give_them(
    shop: Shop, repocache_servers: Servers
) -> None:
    expected = await cached(shop)
    for replica in repocache_servers.replicas:
        replica.freeze()
    try:
        await shop.db._started.cache.retry.deliver(Batch({}, frozenset({"post-comments"})))
        assert await cached(shop) == expected
    finally:
        for replica in repocache_servers.replicas:
            replica.thaw()


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(shop: Shop) -> None:
    for turns in range(12):
        task = asyncio.create_task(cached(shop))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    assert await cached(shop) == await truth(shop)


async def test_an_ordinary_change_tells_no_list(shop: Shop) -> None:
    async with shop.db.unit_of_work() as work:
        await _text(work)
        assert await told(shop, work) == set()
        (await work[Posts].require(4)).title = "new"
        assert await told(shop, work) == set()
        await work.rollback()


ASTRAY = {
    "a child of another": ("UPDATE comments SET post_id = 3 WHERE id = 40", [42, 41]),
    "a child that is gone": ("DELETE FROM comments WHERE id = 40", [42, 41]),
}


@pytest.mark.parametrize("name", ASTRAY)
async def test_a_list_that_leads_astray_is_not_believed(
    shop: Shop, repocache_endpoints: Endpoints, name: str
) -> None:
    """1. A child is another parent's from now on, or gone, and no list is told; 2. its own entry is
    invalidated."""
    statement, expected = ASTRAY[name]
    await warm(shop)
    engine = create_async_engine(repocache_endpoints.primary)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()
    keys = frozenset({"comment:40"})
    await shop.db._started.cache.retry.deliver(Batch({"comment": keys}))
    async with shop.db.causal_session(None):
        async with shop.db.unit_of_work() as work:  # whose position is behind that of the change
            (await work[Posts].require(1)).title = "new"
            await work.commit()
        post = await shop.db[Posts].require(4, load=[Post.comments])
        assert [each.id for each in post.comments] == expected


async def test_without_positions_or_arrays_it_is_a_statement(tmp_path: Path) -> None:
    ends = Endpoints(f"sqlite+aiosqlite:///{tmp_path}/db", (), "")
    await make_blog(ends.primary)
    async with open_blog(ends) as shop:
        assert await cached(shop) == await truth(shop)


async def test_counts_where_nothing_is_cached(shop: Shop) -> None:
    expected = {1: 0, 2: 1, 5: 4, 9: 0}
    posts = shop.db[Posts]
    for each in (posts.on_primary(), posts.on_replica()):
        assert await each.comment_count.get_many(list(expected)) == expected
        assert await each.comment_count.get(5) == 4
    async with shop.db.unit_of_work() as work:
        work.add(Comment(post_id=1, text="new"))
        counts = work[Posts].comment_count
        assert await counts.get_many(list(expected)) == {**expected, 1: 1}
        assert await counts.get(1) == 1
        await work.rollback()
    with pytest.raises(InvalidId):
        await posts.comment_count.get("5")  # type: ignore[arg-type]


async def test_ids_where_nothing_is_cached(shop: Shop) -> None:
    expected = {1: [], 3: [31, 30], 9: []}
    posts = shop.db[Posts]
    for each in (posts.on_primary(), posts.on_replica()):
        assert await each.comments.get_many(list(expected)) == expected
        assert await each.labels.get(4) == ["a", "b"]
    async with shop.db.unit_of_work() as work:
        work.add(Comment(id=99, post_id=1, text="new"))
        lists = work[Posts].comments
        assert await lists.get_many(list(expected)) == {**expected, 1: [99]}
        await work.rollback()
    with pytest.raises(InvalidId):
        await posts.comments.get("5")  # type: ignore[arg-type]


async def test_ids_ask_for_no_child(shop: Shop) -> None:
    """A page of a long list reads the children of that page."""
    posts = shop.db[Posts]
    before = len(shop.seen)
    assert await posts.comments.get(5) == [53, 52, 51, 50]
    assert {e.owner for e in shop.seen[before:] if isinstance(e, Served)} == {"post-comments"}


def test_what_cannot_be_counted_is_told() -> None:
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: Count(Post.comments), "plain columns of one table"),
        (lambda: Count(Comment.text), r"do not hold the id of Post, which is \(int\)"),
        (lambda: Count(Comment.post_id, Comment.place), "do not hold the id"),
        (lambda: Count(*NOTHING), "give the column attributes"),
    ]
    for wrong, why in refused:
        with pytest.raises((ConfigurationError, MappingRefused), match=why):
            declared(Post, Post.comments, Comments, count=wrong())


NOTHING: Any = ()


def declared(model: type[Any], relationship: Any, *others: Any, count: Any = None) -> Database:
    members = {"owner": KeyOwner("it"), "all": KeyList(relationship), "count_of": count}
    bases = (Repository[model, int],)  # type: ignore[valid-type]
    made = new_class("Its", bases, exec_body=lambda namespace: namespace.update(members))
    return Database("sqlite+aiosqlite:////nowhere", repositories=[made, *others])


def test_what_cannot_be_a_key_list_is_told() -> None:
    with pytest.raises(ConfigurationError, match="Comment has no repository in"):
        declared(Post, Post.comments)
    with pytest.raises(ConfigurationError, match=r"KeyList\(.*give a relationship"):
        declared(Post, Post.title)
    with pytest.raises(MappingRefused, match=r"Its.all: Comment.post does not lead to many"):
        declared(Comment, Comment.post, Posts)
