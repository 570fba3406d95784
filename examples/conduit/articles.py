"""Articles, their lists, favourites, comments and tags."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Body, Depends, HTTPException, Query
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from examples.conduit.answers import (
    Answers,
    ArticleAnswer,
    ArticlesAnswer,
    CommentAnswer,
    CommentsAnswer,
    TagsAnswer,
)
from examples.conduit.auth import SignedIn, Viewer
from examples.conduit.models import (
    SITE,
    Article,
    Comment,
    Favourite,
    Tag,
)
from examples.conduit.repositories import Articles, Comments, Sites, Tags, Users
from examples.conduit.users import Db, Work
from repocache import UnitOfWork
from repocache.fastapi import UnitOfWorkRoute

router = APIRouter(route_class=UnitOfWorkRoute)


class Written(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    title: str
    description: str
    body: str
    tag_list: list[str] = []


class ArticleChange(BaseModel):
    title: str | None = None
    description: str | None = None
    body: str | None = None


class CommentWritten(BaseModel):
    body: str


@dataclass(frozen=True)
class Page:
    offset: Annotated[int, Query(ge=0)] = 0
    limit: Annotated[int, Query(ge=1, le=100)] = 20


@dataclass(frozen=True)
class Filter(Page):
    tag: str | None = None
    author: str | None = None
    favorited: str | None = None


def slug_of(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


@router.get("/articles")
async def articles(which: Annotated[Filter, Depends()], viewer: Viewer, db: Db) -> ArticlesAnswer:
    """By tag, author and who made it a favourite, or all; the newest first."""
    users = db[Users]
    lists: list[list[int]] = []
    if which.tag is not None:
        lists.append(await db[Tags].articles.get(which.tag))
    if which.author is not None:
        author = await users.by_username.get(which.author)
        lists.append(await users.articles.get(author.id) if author else [])
    if which.favorited is not None:
        fan = await users.by_username.get(which.favorited)
        pairs = await users.favourites.get(fan.id) if fan else []
        lists.append([article for _, article in pairs])
    if not lists:
        lists.append(await db[Sites].articles.get(SITE))
    first, *others = lists
    wanted = set(first).intersection(*others)
    ids = [id for id in first if id in wanted]
    return await Answers(db, viewer).page(ids, which.offset, which.limit)


@router.get("/articles/feed")
async def feed(page: Annotated[Page, Depends()], id: SignedIn, db: Db) -> ArticlesAnswer:
    """Of all whom the user follows, the newest first."""
    followed = [user for _, user in await db[Users].follows.get(id)]
    lists = await db[Users].articles.get_many(followed)
    ids = sorted(chain.from_iterable(lists.values()), reverse=True)
    return await Answers(db, id).page(ids, page.offset, page.limit)


@router.get("/articles/{slug}")
async def article(slug: str, viewer: Viewer, db: Db) -> ArticleAnswer:
    found = await db[Articles].by_slug.require(slug)
    return await Answers(db, viewer).article(found.id)


@router.post("/articles", status_code=201)
async def write(
    article: Annotated[Written, Body(embed=True)], id: SignedIn, work: Work
) -> ArticleAnswer:
    made = Article(
        slug=slug_of(article.title),
        title=article.title,
        description=article.description,
        body=article.body,
        author_id=id,
        tags=await tags_of(work, article.tag_list),
    )
    work.add(made)
    await work.session.flush()
    return await Answers(work, id).article(made.id)


async def tags_of(work: UnitOfWork, names: list[str]) -> list[Tag]:
    """Those that are new are made; in one order, so that two writers do not wait for each other."""
    found = await work[Tags].get_many(names)
    new = sorted(set(names) - set(found))
    if new:
        rows = [{"name": name} for name in new]
        await work.session.execute(insert(Tag).values(rows).on_conflict_do_nothing())
        found |= await work[Tags].get_many(new)
    return list(found.values())


async def own_article(work: UnitOfWork, slug: str, id: int) -> Article:
    found = await work[Articles].by_slug.require(slug)
    if found.author_id != id:
        raise HTTPException(403, "it is another's")
    return found


@router.put("/articles/{slug}")
async def rewrite(
    slug: str, article: Annotated[ArticleChange, Body(embed=True)], id: SignedIn, work: Work
) -> ArticleAnswer:
    found = await own_article(work, slug, id)
    for name, value in article.model_dump(exclude_none=True).items():
        setattr(found, name, value)
    if article.title is not None:
        found.slug = slug_of(article.title)
    await work.session.flush()
    return await Answers(work, id).article(found.id)


@router.delete("/articles/{slug}", status_code=204)
async def remove(slug: str, id: SignedIn, work: Work) -> None:
    await work.delete(await own_article(work, slug, id))


@router.post("/articles/{slug}/favorite")
async def favourite(slug: str, id: SignedIn, work: Work) -> ArticleAnswer:
    found = await work[Articles].by_slug.require(slug)
    row = {"user_id": id, "article_id": found.id}
    await work.session.execute(insert(Favourite).values(row).on_conflict_do_nothing())
    return await Answers(work, id).article(found.id)


@router.delete("/articles/{slug}/favorite")
async def unfavourite(slug: str, id: SignedIn, work: Work) -> ArticleAnswer:
    found = await work[Articles].by_slug.require(slug)
    await work.session.execute(
        delete(Favourite).where(Favourite.user_id == id, Favourite.article_id == found.id)
    )
    return await Answers(work, id).article(found.id)


@router.get("/articles/{slug}/comments")
async def comments(slug: str, viewer: Viewer, db: Db) -> CommentsAnswer:
    found = await db[Articles].by_slug.require(slug, load=[(Article.comments, Comment.author)])
    return CommentsAnswer(comments=await Answers(db, viewer).comments(found.comments))


@router.post("/articles/{slug}/comments", status_code=201)
async def comment(
    slug: str, comment: Annotated[CommentWritten, Body(embed=True)], id: SignedIn, work: Work
) -> CommentAnswer:
    found = await work[Articles].by_slug.require(slug)
    author = await work[Users].require(id)
    made = Comment(body=comment.body, article_id=found.id, author=author)
    work.add(made)
    await work.session.flush()
    [shown] = await Answers(work, id).comments([made])
    return CommentAnswer(comment=shown)


@router.delete("/articles/{slug}/comments/{comment_id}", status_code=204)
async def uncomment(slug: str, comment_id: int, id: SignedIn, work: Work) -> None:
    found = await work[Comments].require(comment_id)
    if found.author_id != id:
        raise HTTPException(403, "it is another's")
    await work.delete(found)


@router.get("/tags")
async def tags(db: Db) -> TagsAnswer:
    return TagsAnswer(tags=await db[Sites].tags.get(SITE))
