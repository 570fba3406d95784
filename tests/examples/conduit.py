"""Conduit with three users: Ada, who asks, follows Bob and has written `second`; Bob has written
`first`, Cyd `third`."""

from __future__ import annotations

from typing import Any

from examples.conduit.auth import Tokens
from examples.conduit.models import (
    Article,
    Base,
    Comment,
    Favourite,
    Follow,
    Site,
    Tag,
    User,
    article_tags,
    now,
)
from tests.examples.service import SECRET, Path, make_tables

ADA, BOB, CYD = (Tokens(SECRET).make(id) for id in (1, 2, 3))

READS: dict[str, Path] = {
    "current user": ("/api/user", ADA),
    "profile": ("/api/profiles/bob", None),
    "profile, signed in": ("/api/profiles/bob", ADA),
    "articles": ("/api/articles", ADA),
    "by tag": ("/api/articles?tag=x", ADA),
    "by author": ("/api/articles?author=ada", ADA),
    "favourited by": ("/api/articles?favorited=ada", ADA),
    "feed": ("/api/articles/feed", ADA),
    "article": ("/api/articles/first", None),
    "article, signed in": ("/api/articles/first", ADA),
    "comments": ("/api/articles/first/comments", ADA),
    "tags": ("/api/tags", None),
}

NOT_YET: dict[str, Path] = {
    "Ada's next": ("/api/articles/fourth", ADA),
    "Bob's other": ("/api/articles/other", None),
    "Lovelace": ("/api/profiles/lovelace", BOB),
}
"""What is not there is cached too, and is there once it was written."""


def article(id: int, slug: str, author_id: int) -> dict[str, Any]:
    moment = {"created_at": now(), "updated_at": now()}
    texts = {"slug": slug, "title": slug.title(), "description": "d", "body": "b"}
    return {"id": id, "author_id": author_id, "site_id": 1, **texts, **moment}


async def make_conduit(url: str) -> None:
    names = {1: "ada", 2: "bob", 3: "cyd"}
    tags = [(1, "x"), (1, "y"), (2, "x")]
    moment = {"created_at": now(), "updated_at": now()}
    comments = [
        {"id": id, "body": f"by {by}", "article_id": 1, "author_id": by, **moment}
        for id, by in ((1, 2), (2, 1))
    ]
    await make_tables(
        url,
        Base,
        {
            Site: [{"id": 1}],
            User: [
                {"id": id, "email": f"{name}@x.org", "username": name, "password_hash": ""}
                for id, name in names.items()
            ],
            Tag: [{"name": name, "site_id": 1} for name in "xy"],
            Article: [article(1, "first", 2), article(2, "second", 1), article(3, "third", 3)],
            article_tags: [{"article_id": id, "tag": tag} for id, tag in tags],
            Follow: [{"follower_id": 1, "followed_id": 2}],
            Favourite: [{"user_id": 1, "article_id": 3}, {"user_id": 3, "article_id": 1}],
            Comment: comments,
        },
    )
