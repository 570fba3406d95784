"""What is answered, in the shapes of the RealWorld specification, and how it is read.

`Answers` reads from a database, through its caches, or in a unit of work, from the transaction: the
same lines serve a GET, and a POST that shows what it has just written.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from examples.conduit.models import Article, Comment, User
from examples.conduit.repositories import (
    Articles,
    FavouriteId,
    Favourites,
    FollowId,
    Follows,
)
from repocache import Database, UnitOfWork


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Profile(Shape):
    username: str
    bio: str | None
    image: str | None
    following: bool


class ProfileAnswer(Shape):
    profile: Profile


class ArticleShown(Shape):
    slug: str
    title: str
    description: str
    body: str
    tag_list: list[str]
    created_at: datetime.datetime
    updated_at: datetime.datetime
    favorited: bool
    favorites_count: int
    author: Profile


class ArticleAnswer(Shape):
    article: ArticleShown


class ArticlesAnswer(Shape):
    articles: list[ArticleShown]
    articles_count: int


class CommentShown(Shape):
    id: int
    body: str
    created_at: datetime.datetime
    updated_at: datetime.datetime
    author: Profile


class CommentAnswer(Shape):
    comment: CommentShown


class CommentsAnswer(Shape):
    comments: list[CommentShown]


class TagsAnswer(Shape):
    tags: list[str]


@dataclass(frozen=True)
class Answers:
    """As `viewer`, the id of a user or None, is to see them."""

    source: Database | UnitOfWork
    viewer: int | None

    async def profiles(self, users: Iterable[User]) -> dict[int, Profile]:
        """By the users' ids."""
        users = list(users)
        followed = await self._followed([user.id for user in users])
        return {
            user.id: Profile(
                username=user.username,
                bio=user.bio,
                image=user.image,
                following=user.id in followed,
            )
            for user in users
        }

    async def _followed(self, ids: Iterable[int]) -> set[int]:
        """Which of these users the viewer follows."""
        if self.viewer is None:
            return set()
        pairs = [FollowId(self.viewer, id) for id in ids]
        return {follow.followed_id for follow in await self.source[Follows].get_many(pairs)}

    async def _favourited(self, ids: Iterable[int]) -> set[int]:
        """Which of these articles are favourites of the viewer's."""
        if self.viewer is None:
            return set()
        pairs = [FavouriteId(self.viewer, id) for id in ids]
        return {each.article_id for each in await self.source[Favourites].get_many(pairs)}

    async def profile(self, user: User) -> ProfileAnswer:
        return ProfileAnswer(profile=(await self.profiles([user]))[user.id])

    async def shown(self, ids: Sequence[int]) -> list[ArticleShown]:
        """The articles of these ids, in this order."""
        repository = self.source[Articles]
        articles = await repository.get_many(ids, load=[Article.author, Article.tags])
        profiles = await self.profiles([article.author for article in articles.values()])
        counts = await repository.favourites.get_many(ids)
        favourited = await self._favourited(ids)
        return [
            ArticleShown(
                slug=article.slug,
                title=article.title,
                description=article.description,
                body=article.body,
                tag_list=[tag.name for tag in article.tags],
                created_at=article.created_at,
                updated_at=article.updated_at,
                favorited=id in favourited,
                favorites_count=counts[id],
                author=profiles[article.author_id],
            )
            for id, article in articles.items()
        ]

    async def article(self, id: int) -> ArticleAnswer:
        return ArticleAnswer(article=(await self.shown([id]))[0])

    async def page(self, ids: Sequence[int], offset: int, limit: int) -> ArticlesAnswer:
        """Of a list of articles: what is on no page is not read any further."""
        return ArticlesAnswer(
            articles=await self.shown(ids[offset : offset + limit]), articles_count=len(ids)
        )

    async def comments(self, comments: Sequence[Comment]) -> list[CommentShown]:
        """With their authors loaded."""
        profiles = await self.profiles([comment.author for comment in comments])
        return [
            CommentShown(
                id=comment.id,
                body=comment.body,
                created_at=comment.created_at,
                updated_at=comment.updated_at,
                author=profiles[comment.author_id],
            )
            for comment in comments
        ]
