"""Whatever is given as a bookmark: nobody gets an error for it, and nobody else notices."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repocache import Settings
from repocache.bookmark import Bookmark, Seen
from repocache.errors import DatabaseUnavailable, UsageError
from repocache.history import LAST
from repocache.signing.bookmarks import BookmarkSigner
from repocache.testing import Endpoints
from tests.fuzzing import examples
from tests.shop import QUICK, Shop, User, in_rotation, open_shop

SECRET = "a secret of the shop's"
SIGNER = BookmarkSigner([SECRET])

odd = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers())
)
surrogates = st.text(st.characters(), max_size=60) | st.text(
    st.characters(categories=["Cs"]), min_size=1, max_size=5
)


def histories(own: str) -> st.SearchStrategy[str]:
    """This line, earlier, later and endless ones of the same cluster, and others."""
    cluster, timeline, process = own.split(".")
    made = [
        f"{cluster}.{line}.{process}"
        for line in (0, int(timeline) + 1, LAST, -1, "9" * 5000, "", "x")
    ]
    return (
        st.sampled_from([own, f"{own}x", f"other.{timeline}.{process}", "", ".", "..", *made])
        | st.text()
    )


def marks(own: str) -> st.SearchStrategy[Bookmark]:
    """In their form, and out of it."""
    seens = st.builds(Seen, st.text(max_size=5), st.integers(-1, LAST + 1))
    sound = st.builds(
        Bookmark,
        history=histories(own),
        position=st.none() | st.integers(-1, LAST + 1) | st.integers(0, 1 << 30),
        wrote=st.none() | st.dictionaries(st.integers(-1, 3000), seens, max_size=17),
        covered=st.booleans(),
        expires=st.floats() | st.just(4e9),
        made=st.floats() | st.just(4e9),
    )
    return sound | st.builds(Bookmark, odd, odd, odd, odd, odd, odd)


def texts(mark: Bookmark) -> list[Any]:
    """The value, and its text unsigned and signed, as a text and as bytes."""
    try:
        plain, signed = mark.encode(), mark.encode(SIGNER)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError):
        return [mark]
    return [mark, plain, signed, plain.encode(), signed.encode()[:-1]]


def drawn(own: str) -> list[Any]:
    """What hypothesis makes of it."""
    found: list[Any] = [
        object(),
        type,
        Bookmark,
        "x" * 5000,
        b"\xff" * 5000,
        "=" * 4096,
        "." * 4096,
    ]

    @settings(
        max_examples=examples(150),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(marks(own), odd | surrogates)
    def collect(mark: Bookmark, other: object) -> None:
        found.extend([*texts(mark), other])

    collect()
    return found


async def outcome(shop: Shop, given: Any) -> str:
    async with shop.db.causal_session(given) as session:
        assert isinstance(session.encode(), str)
        try:
            assert (await shop.users.require(7)).name == "n07"
            [again] = await shop.users.find(User.id == 7)
        except DatabaseUnavailable:
            return "unavailable"  # of a newer timeline: it alone may not be shown the past
        return again.name


@pytest.mark.parametrize("secrets", [(), (SECRET,)], ids=["unsigned", "signed"])
async def test_whatever_is_given(repocache_endpoints: Endpoints, secrets: tuple[str, ...]) -> None:
    async with open_shop(repocache_endpoints, Settings(topology=QUICK, secrets=secrets)) as shop:
        await in_rotation(shop)
        own = shop.db._topology.history
        assert await outcome(shop, None) == "n07"
        for given in drawn(own):
            assert await outcome(shop, given) in ("n07", "unavailable"), repr(given)[:200]
            assert await outcome(shop, None) == "n07", "nobody else notices"
        assert shop.db._topology.history == own


async def test_a_client_is_a_text(repocache_endpoints: Endpoints) -> None:
    async with open_shop(repocache_endpoints) as shop:
        client: Any = 7
        with pytest.raises(UsageError, match="client=7"):
            async with shop.db.causal_session(client=client):
                await asyncio.sleep(0)
