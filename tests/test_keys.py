"""The text of a key, its bucket, and the way back."""

from __future__ import annotations

import datetime
import uuid
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.errors import ConfigurationError, InvalidId, OwnerClash
from repocache.keys import BUCKETS, KEY_FORMAT, KeyOwner, Keys, KeySpace, bucket_of

SURROGATES_TOO = st.text(st.characters(exclude_categories=()))
PARTS: dict[type, st.SearchStrategy[Any]] = {
    int: st.integers(),
    str: st.text(alphabet=":%/{}? \n\0é日a\ud800") | SURROGATES_TOO,
    uuid.UUID: st.uuids(),
    bytes: st.binary(max_size=20),
    datetime.date: st.dates(),
}


class Place(NamedTuple):
    tenant: int
    code: str


class DriversUuid(uuid.UUID):
    """As asyncpg gives them: a class of its own, equal to the others."""


def keys(*types: type, prefix: str = "user") -> Keys:
    return Keys(KeyOwner(prefix), types)


PLACES = Keys(KeyOwner("place"), (int, str), Place._make)
ANY_TYPE = st.sampled_from(list(PARTS))


@given(st.data())
def test_an_id_comes_back_from_its_text(data: st.DataObject) -> None:
    kind = data.draw(ANY_TYPE)
    id = data.draw(PARTS[kind])
    back = keys(kind).id(keys(kind).text(id))
    assert back == id
    assert type(back) is kind


@given(PARTS[int], PARTS[str])
def test_a_composite_id_comes_back_as_its_own_class(tenant: int, code: str) -> None:
    back = PLACES.id(PLACES.text(Place(tenant, code)))
    assert back == (tenant, code)
    assert type(back) is Place


@given(PARTS[str])
def test_a_text_in_a_key_is_plain(code: str) -> None:
    """Nothing of what stands between parts, or means something to a cluster, gets into a part."""
    assert PLACES.text((1, code)).isascii()
    assert PLACES.text((1, code)).count(":") == 2
    assert not set(PLACES.text((1, code))) & set("{}/? \n\0*")


@given(st.data())
def test_two_ids_never_make_one_text(data: st.DataObject) -> None:
    types = tuple(data.draw(st.lists(ANY_TYPE, min_size=1, max_size=3)))
    ids = st.tuples(*(PARTS[each] for each in types)) if len(types) > 1 else PARTS[types[0]]
    one, other = data.draw(ids), data.draw(ids)
    made = keys(*types)
    assert (made.text(one) == made.text(other)) == (one == other)


@pytest.mark.parametrize(
    "one, other",
    [
        (("a:b", "c"), ("a", "b:c")),
        (("a", ""), ("", "a")),
        (("%3A", "x"), (":", "x")),
        (("+", ""), (" ", "")),
    ],
)
def test_texts_that_lean_on_each_other_stay_apart(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert keys(str, str).text(one) != keys(str, str).text(other)


@pytest.mark.parametrize(
    "types, id",
    [
        ((int,), "7"),
        ((int,), True),
        ((int,), 7.0),
        ((int,), None),
        ((int,), (7,)),
        ((str,), 7),
        ((str,), b"7"),
        ((uuid.UUID,), "00000000000000000000000000000007"),
        ((bytes,), bytearray(b"7")),
        ((datetime.date,), datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)),
        ((int, str), (1,)),
        ((int, str), (1, "a", 2)),
        ((int, str), ("a", 1)),
        ((int, str), [1, "a"]),
        ((int, str), 1),
    ],
)
def test_an_id_of_another_type_or_arity_is_refused(types: tuple[type, ...], id: object) -> None:
    with pytest.raises(InvalidId, match="user"):
        keys(*types).text(id)
    with pytest.raises(InvalidId, match="user"):
        keys(*types).distinct([id])


def test_a_drivers_uuid_has_the_key_of_any_other() -> None:
    plain = uuid.UUID(int=7)
    assert keys(uuid.UUID).text(DriversUuid(int=7)) == keys(uuid.UUID).text(plain)


def test_ids_are_taken_once_and_in_their_order() -> None:
    assert keys(int).distinct([3, 1, 3, 2, 1]) == [3, 1, 2]


@pytest.mark.parametrize("ids", ["abc", b"abc", 7])
def test_one_id_is_not_many(ids: Any) -> None:
    with pytest.raises(InvalidId, match="list of ids"):
        keys(str).distinct(ids)


@pytest.mark.parametrize("text", ["other:7", "user", "user:7:8", "user:x", "", "userx:7", "user:"])
def test_a_text_of_somebody_else_has_no_id_here(text: str) -> None:
    with pytest.raises(OwnerClash):
        keys(int).id(text)


@given(st.text())
def test_any_text_has_an_id_or_is_refused(text: str) -> None:
    """Texts come from the channel: whoever writes there must not be able to raise anything else."""
    for kind in PARTS:
        with suppress(OwnerClash):
            keys(kind).id("user:" + text)


def test_two_owners_of_one_prefix_clash() -> None:
    with pytest.raises(OwnerClash, match="'user'"):
        KeySpace([keys(int), keys(str)])


def test_a_space_knows_whose_a_key_is() -> None:
    user, order = keys(int), keys(int, int, prefix="user-order")
    space = KeySpace([user, order])
    assert space.owner("user:7") is user
    assert space.owner("user-order:1:2") is order
    assert list(space) == [user, order]
    assert "user" in space
    assert "us" not in space
    with pytest.raises(OwnerClash, match="nobody"):
        space.owner("us:7")


@pytest.mark.parametrize(
    "prefix", ["", "User", "7user", "us:er", "us er", "é", "a" * 65, "user\n", "-a"]
)
def test_a_prefix_of_another_form_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="prefix"):
        KeyOwner(prefix)


def test_a_key_column_without_a_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="float"):
        keys(int, float)


@pytest.mark.parametrize(
    "text, bucket",
    [("user:42", 390), ("user:-1", 292), ("order:1:2", 285), ("country:%C3%A9", 646), ("", 0)],
)
def test_buckets_and_texts_are_those_of_every_release(text: str, bucket: int) -> None:
    """Who changes these values has changed what the processes of two releases share: KEY_FORMAT
    must count it."""
    assert KEY_FORMAT == 2
    assert bucket_of(text) == bucket


@pytest.mark.parametrize(
    "kind, id, text",
    [
        (int, -42, "user:-42"),
        (str, "a:b é", "user:a%3Ab%20%C3%A9"),
        (uuid.UUID, uuid.UUID(int=255), "user:000000000000000000000000000000ff"),
        (bytes, b"\x00\xff", "user:00ff"),
        (datetime.date, datetime.date(2024, 2, 29), "user:2024-02-29"),
    ],
)
def test_the_text_of_a_key_is_that_of_every_release(kind: type, id: object, text: str) -> None:
    assert KEY_FORMAT == 2
    assert keys(kind).text(id) == text


@given(st.text(st.characters(codec="utf-8")))
def test_every_text_has_a_bucket(text: str) -> None:
    assert 0 <= bucket_of(text) < BUCKETS
