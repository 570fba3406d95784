"""What lies in Redis: rows of this shape and no other, and never anything that runs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from repocache import Database, KeyOwner, Repository
from repocache.events import BookmarkRefused, Served, ValueRefused
from repocache.testing import Endpoints, Servers
from tests.known_defects.shops import PATIENT, heard, in_l1, names, records
from tests.shop import Seen, Shop, Users, open_shop

SECRET = "a secret of sixteen bytes"


class Older(DeclarativeBase):
    pass


class OlderUser(Older):
    """The users of the release before: `email` and the rest came later."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class OlderUsers(Repository[OlderUser, int]):
    owner = KeyOwner("user")


class Other(DeclarativeBase):
    pass


class OtherUser(Other):
    """Of as many columns and the same types as the older ones, of which one is another."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


class OtherUsers(Repository[OtherUser, int]):
    owner = KeyOwner("user")


async def test_a_value_from_before_a_column_was_added_is_not_read(
    repocache_endpoints: Endpoints,
) -> None:
    """Defect 11: a value that was cached before a column was added came back with None in its
    place."""
    async with (
        open_shop(repocache_endpoints, PATIENT, [OlderUsers]) as older,
        open_shop(repocache_endpoints, PATIENT) as newer,
    ):
        await older.db[OlderUsers].get_many([7, 9])
        for id in (7, 9):
            user = await newer.users.require(id)
            assert (user.name, user.age, user.email, user.settings) == (
                f"n0{id}",
                id,
                f"{id}@x",
                {},
            )
        assert (await older.db[OlderUsers].require(7)).name == "n07"
        # Both releases are live: each hears of what the other writes.
        await newer.rename(7, "by the newer")
        async with older.db.unit_of_work() as work:
            (await work[OlderUsers].require(9)).name = "by the older"
            await work.commit()
        await heard(older, newer)
        assert [user.name for user in (await older.db[OlderUsers].get_many([7, 9])).values()] == [
            "by the newer",
            "by the older",
        ]
        assert await names(newer, 7, 9) == ["by the newer", "by the older"]


async def test_a_value_with_another_column_in_its_place_is_not_read(
    repocache_endpoints: Endpoints,
) -> None:
    """Defect 11: values did not say which columns they are of."""
    async with (
        open_shop(repocache_endpoints, PATIENT, [OlderUsers]) as older,
        open_shop(repocache_endpoints, PATIENT, [OtherUsers]) as other,
    ):
        assert (await older.db[OlderUsers].require(7)).name == "n07"
        assert (await other.db[OtherUsers].require(7)).email == "7@x"


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self._path,)


async def test_what_others_put_into_redis_does_not_run(
    shop: Shop, repocache_endpoints: Endpoints, repocache_servers: Servers, tmp_path: Path
) -> None:
    """Defect C9: values were pickles, so whoever could write to Redis could run anything in every
    process."""
    forged = pickle.dumps(Bomb(tmp_path / "ran"))
    for bytes_there in (forged, b"V" + forged, b"V\xc1" + forged, b"V\xfe" + forged, forged * 1000):
        await shop.users.get(7)
        [key] = (key for key in keys_of(repocache_servers) if key.endswith("user:7"))
        await records(shop)._link.call("SET", key, bytes_there)
        async with open_shop(repocache_endpoints, PATIENT) as reader:
            assert await names(reader, 7) == ["n07"]
            assert [event.key for event in reader.seen.of(ValueRefused)] == ["user:7"]
            assert {event.tier for event in reader.seen.of(Served)} == {"database"}
    assert not (tmp_path / "ran").exists()
    pickle.loads(forged)
    assert (tmp_path / "ran").exists(), "it would have run"


def keys_of(servers: Servers) -> list[str]:
    found = servers.redis.command("KEYS", "*")
    assert isinstance(found, list)
    return [str(key) for key in found]


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "sum", "none"])
async def test_a_signature_is_of_our_making_and_never_of_the_texts_choice(
    repocache_endpoints: Endpoints, digest: str
) -> None:
    """Defect C10: the text said by which digest it was signed, a sum of bytes among them, and was
    believed."""
    async with open_shop(repocache_endpoints, replace(PATIENT, secrets=(SECRET,))) as shop:
        async with shop.db.causal_session() as session:
            await shop.rename(7, "Ada")
            right = session.encode()
            body = session.bookmark.encode()
        _, signature = right.rsplit(".", 1)
        timed = f"{body}.aTm0Zw"
        forged = [body, timed, f"{timed}.{signature}"]
        forged += [f"{digest}:{body}.{signature}", f"{body}.{digest}:{signature}"]
        if digest == "sum":
            forged += [f"sum:{body}.{sum(body.encode())}", f"{body}.sum:{sum(body.encode())}"]
        elif digest != "none":
            for key in (b"", SECRET[:-1].encode(), b"repocache.bookmark"):
                for said in (body, timed):
                    made = hmac.new(key, said.encode(), digest).digest()
                    text = base64.urlsafe_b64encode(made).rstrip(b"=").decode()
                    forged += [f"{said}.{text}", f"{digest}:{said}.{text}"]
            forged.append(f"{body}.{hashlib.new(digest, body.encode()).hexdigest()}")
        for text in forged:
            async with shop.db.causal_session(text) as session:
                assert session.bookmark.position == 0, text
        assert [event.why for event in shop.seen.of(BookmarkRefused)] == ["signature"] * len(forged)
        async with shop.db.causal_session(right) as session:
            assert session.bookmark.position, "the right one is taken"


async def test_rows_that_no_pickle_takes_are_cached(repocache_endpoints: Endpoints) -> None:
    """Defect C13: objects of SQLAlchemy failed to be pickled, now and then."""

    class Local(DeclarativeBase):
        pass

    class Thing(Local):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        settings: Mapped[dict[str, Any]] = mapped_column(JSONB)

    class Things(Repository[Thing, int]):
        owner = KeyOwner("thing")

    ends = repocache_endpoints
    for tier in ("database", "l2"):
        seen = Seen()
        async with Database(
            ends.primary,
            replicas=ends.replicas,
            redis=ends.redis,
            repositories=[Things],
            settings=replace(PATIENT, observe=seen),
        ) as db:
            things = [await db[Things].require(7), (await db[Things].get_many([7]))[7]]
            assert [(thing.id, thing.name, thing.settings) for thing in things] == [
                (7, "n07", {})
            ] * 2
            assert [event.tier for event in seen.of(Served)] == [tier]
            with pytest.raises((pickle.PicklingError, AttributeError)):
                pickle.dumps(things[0])


async def test_the_cache_can_be_left_out(
    shop: Shop, other: Shop, repocache_servers: Servers, database: str
) -> None:
    """Defect C16: the switch that turned the cache off did not turn off all of it."""
    await in_l1(shop, 7)
    past = other.users.on_primary()
    for id in (7, 8, 7000):
        await past.get(id)
        await past.get_many([id])
        await past.card.get(id)
    assert [
        key for key in keys_of(repocache_servers) if key.endswith(("user:8", "user:7000"))
    ] == []
    assert {event.tier for event in other.seen.of(Served)} == {"database"}
    assert (other.users._peek(7), other.users._peek(8)) == (None, None)
    unheard = "UPDATE users SET name = 'unheard' WHERE id = 7"
    repocache_servers.primary.sql(unheard, database)
    assert await names(shop, 7) == ["n07"], "the cache has not heard of it"
    past = shop.users.on_primary()
    assert ((await past.require(7)).name, (await past.get_many([7]))[7].name) == (
        "unheard",
        "unheard",
    )
    card = await past.card.get(7)
    assert card is not None
    assert card.name == "unheard"
    async with shop.db.unit_of_work() as work:
        assert (await work[Users].require(7)).name == "unheard"
    assert await names(shop, 7) == ["n07"], "and what was read past it is not kept in it"
