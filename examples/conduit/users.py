"""Users, profiles, and who follows whom."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends, HTTPException
from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from examples.conduit.answers import Answers, ProfileAnswer, Shape
from examples.conduit.auth import SignedIn, TheTokens, Tokens, Viewer, hashed, is_right
from examples.conduit.models import Follow, User
from examples.conduit.repositories import Users
from repocache import Database, UnitOfWork
from repocache.fastapi import UnitOfWorkRoute, database, unit_of_work

router = APIRouter(route_class=UnitOfWorkRoute)
Db = Annotated[Database, Depends(database)]
Work = Annotated[UnitOfWork, Depends(unit_of_work)]


class Login(BaseModel):
    email: str
    password: str


class Registration(Login):
    username: str


class UserChange(BaseModel):
    email: str | None = None
    username: str | None = None
    password: str | None = None
    bio: str | None = None
    image: str | None = None


class UserShown(Shape):
    email: str
    username: str
    bio: str | None
    image: str | None
    token: str


class UserAnswer(Shape):
    user: UserShown


def shown(user: User, tokens: Tokens) -> UserAnswer:
    return UserAnswer(
        user=UserShown(
            email=user.email,
            username=user.username,
            bio=user.bio,
            image=user.image,
            token=tokens.make(user.id),
        )
    )


@router.post("/users", status_code=201)
async def register(
    user: Annotated[Registration, Body(embed=True)], work: Work, tokens: TheTokens
) -> UserAnswer:
    made = User(email=user.email, username=user.username, password_hash=await hashed(user.password))
    work.add(made)
    await work.session.flush()
    return shown(made, tokens)


@router.post("/users/login")
async def login(user: Annotated[Login, Body(embed=True)], db: Db, tokens: TheTokens) -> UserAnswer:
    """The hash is in no cache: one statement, on the node that the session may read."""
    found = await db[Users].by_email.get(user.email)
    if found is not None:
        [(stored,)] = await db[Users].rows(select(User.password_hash).where(User.id == found.id))
        if await is_right(user.password, stored):
            return shown(found, tokens)
    raise HTTPException(401, "wrong email or password")


@router.get("/user")
async def current_user(id: SignedIn, db: Db, tokens: TheTokens) -> UserAnswer:
    return shown(await db[Users].require(id), tokens)


@router.put("/user")
async def update_user(
    id: SignedIn, user: Annotated[UserChange, Body(embed=True)], work: Work, tokens: TheTokens
) -> UserAnswer:
    found = await work[Users].require(id)
    for name, value in user.model_dump(exclude_unset=True, exclude={"password"}).items():
        setattr(found, name, value)
    if user.password is not None:
        found.password_hash = await hashed(user.password)
    return shown(found, tokens)


@router.get("/profiles/{username}")
async def profile(username: str, viewer: Viewer, db: Db) -> ProfileAnswer:
    return await Answers(db, viewer).profile(await db[Users].by_username.require(username))


@router.post("/profiles/{username}/follow")
async def follow(username: str, id: SignedIn, work: Work) -> ProfileAnswer:
    followed = await work[Users].by_username.require(username)
    row = {"follower_id": id, "followed_id": followed.id}
    await work.session.execute(insert(Follow).values(row).on_conflict_do_nothing())
    return await Answers(work, id).profile(followed)


@router.delete("/profiles/{username}/follow")
async def unfollow(username: str, id: SignedIn, work: Work) -> ProfileAnswer:
    followed = await work[Users].by_username.require(username)
    await work.session.execute(
        delete(Follow).where(Follow.follower_id == id, Follow.followed_id == followed.id)
    )
    return await Answers(work, id).profile(followed)
