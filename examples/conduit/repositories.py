"""What is cached, and how it is found: the one page that makes the service fast."""

from __future__ import annotations

from typing import NamedTuple

from examples.conduit.models import Article, Comment, Favourite, Follow, Site, Tag, User
from repocache import CacheAside, Count, KeyList, KeyOwner, Lookup, Repository

POLICY = CacheAside(ttl=3600, local_ttl=60, negative_ttl=600)


class Users(Repository[User, int]):
    owner = KeyOwner("user")
    policy = POLICY
    by_email = Lookup(User.email)
    by_username = Lookup(User.username)
    articles = KeyList(User.articles)
    favourites = KeyList(User.favourites)
    follows = KeyList(User.follows)


class Articles(Repository[Article, int]):
    owner = KeyOwner("article")
    policy = POLICY
    by_slug = Lookup(Article.slug)
    tags = KeyList(Article.tags)
    comments = KeyList(Article.comments)
    favourites = Count(Favourite.article_id)


class Comments(Repository[Comment, int]):
    owner = KeyOwner("comment")
    policy = POLICY


class Tags(Repository[Tag, str]):
    owner = KeyOwner("tag")
    policy = POLICY
    articles = KeyList(Tag.articles)


class Sites(Repository[Site, int]):
    owner = KeyOwner("site")
    policy = POLICY
    articles = KeyList(Site.articles)
    tags = KeyList(Site.tags)


class FollowId(NamedTuple):
    follower_id: int
    followed_id: int


class Follows(Repository[Follow, FollowId]):
    """Whether somebody follows somebody is a read by id; "no" is cached too."""

    owner = KeyOwner("follow")
    policy = POLICY


class FavouriteId(NamedTuple):
    user_id: int
    article_id: int


class Favourites(Repository[Favourite, FavouriteId]):
    owner = KeyOwner("favourite")
    policy = POLICY


REPOSITORIES = (Users, Articles, Comments, Tags, Sites, Follows, Favourites)
