"""Rows there and back, what is neither stored nor believed, and how long each lives."""

from __future__ import annotations

import base64
import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.cache.entry import CachedRow, Source
from repocache.cache.policies import CacheAside
from repocache.cache.signature import UNSIGNED, Signature, Signing
from repocache.cache.values import NOT_KEPT, Values, digest, is_lease
from repocache.errors import CodecError
from repocache.events import ValueRefused
from repocache.keys import LONGEST
from repocache.records.names import ABSENT, LEASE, VALUE
from repocache.signing.bookmarks import BookmarkSigner
from repocache.signing.signer import LENGTH
from tests.cache.one_process import NEVER_JITTERED, USERS, Loads, Plain, Seen, id_of

TEXT = USERS.text(7)
ROW = (7, "Ada")


def values(policy: CacheAside = NEVER_JITTERED, max_value: int = 100) -> tuple[Values, Seen]:
    seen = Seen()
    return Values(Source(USERS, "f1", policy, Plain(), Loads(), id_of), max_value, seen), seen


def test_a_row_comes_back() -> None:
    made, seen = values()
    value, life = made.encode(TEXT, ROW)
    cell = made.decode(TEXT, value, 7)
    assert cell is not None
    assert (cell.row, cell.length, life) == (ROW, len(value), 300)
    assert seen == []


def test_no_row_is_known_for_the_negative_time() -> None:
    made, seen = values()
    assert made.encode(TEXT, None) == (ABSENT, 30)
    cell = made.decode(TEXT, ABSENT, 7)
    assert cell is not None
    assert cell.row is None
    assert seen == []


def test_no_row_is_not_kept_without_a_negative_time() -> None:
    made, seen = values(dataclasses.replace(NEVER_JITTERED, negative_ttl=0))
    assert made.encode(TEXT, None)[0] == NOT_KEPT
    assert seen == []


def test_a_row_that_has_no_bytes_is_not_kept() -> None:
    made, seen = values()
    assert made.encode(TEXT, ("cannot be kept",))[0] == NOT_KEPT
    assert seen == [ValueRefused(TEXT, "cannot be kept")]


def test_as_many_bytes_as_allowed_are_kept_and_one_more_is_not() -> None:
    largest, seen = values(max_value=len(values()[0].encode(TEXT, ROW)[0]))
    value, _ = largest.encode(TEXT, ROW)
    assert value != NOT_KEPT
    assert largest.decode(TEXT, value, 7) is not None
    assert seen == []
    smaller, seen = values(max_value=len(value) - 1)
    assert smaller.encode(TEXT, ROW)[0] == NOT_KEPT
    assert smaller.decode(TEXT, value, 7) is None
    assert [event.key for event in seen.of(ValueRefused)] == [TEXT, TEXT]


@pytest.mark.parametrize(
    "value", [b"", b"X", LEASE + b"nonce", ABSENT + b"x", VALUE, VALUE + b"\xc1", b"v" + b"\x90"]
)
def test_what_is_no_value_of_this_owner_is_refused(value: bytes) -> None:
    made, seen = values()
    assert made.decode(TEXT, value, 7) is None
    assert [event.key for event in seen.of(ValueRefused)] == [TEXT]


@pytest.mark.parametrize("id", [8, 70, -7, "7", "Ada", None])
def test_a_row_of_another_id_is_refused(id: object) -> None:
    made, seen = values()
    value, _ = made.encode(USERS.text(7), (id, "Ada"))
    assert made.decode(TEXT, value, 7) is None
    assert seen == [ValueRefused(TEXT, f"the row under this key has the id {id!r}")]


@given(st.binary(max_size=200))
def test_whatever_lies_there_is_a_cell_or_refused(value: bytes) -> None:
    made, seen = values()
    assert (made.decode(TEXT, value, 7) is None) == bool(seen)


def test_an_id_of_thousands_of_digits_is_refused_as_any_other() -> None:
    """Python does not print it."""
    seen = Seen()
    made = Values(
        Source(USERS, "f1", NEVER_JITTERED, Plain(), Loads(), lambda row: 10**5000), 100, seen
    )
    value, _ = made.encode(TEXT, ROW)
    assert made.decode(TEXT, value, 7) is None
    assert seen == [
        ValueRefused(TEXT, "the row under this key has the id <int of thousands of digits>")
    ]


def test_what_lies_under_a_long_key_is_not_stored() -> None:
    """Nobody reads it there."""
    made, seen = values()
    assert made.encode("user:" + "7" * LONGEST, ROW)[0] == NOT_KEPT
    assert seen == []


SIGNING = Signing("app", ("a secret of sixteen", "an older secret, too"))
SIGNED = SIGNING.signature("f1")
VALUE_OF_7 = b"V" + b"row"


@given(st.text(st.characters(codec="ascii", exclude_characters="\0")), st.binary())
def test_what_is_signed_comes_back(text: str, value: bytes) -> None:
    assert SIGNED.unsign(text, SIGNED.sign(text, value)) == value
    assert UNSIGNED.unsign(text, UNSIGNED.sign(text, value)) == value


@pytest.mark.parametrize(
    "other",
    [
        SIGNING.signature("f2"),
        Signing("other", SIGNING.secrets).signature("f1"),
        Signing("app", ("a secret that nobody has",)).signature("f1"),
        Signing("app", SIGNING.secrets[1:]).signature("f1"),
    ],
    ids=["shape", "application", "secret", "older secret alone"],
)
def test_a_signature_is_of_one_place(other: Signature) -> None:
    with pytest.raises(CodecError, match="the signature is wrong"):
        other.unsign(TEXT, SIGNED.sign(TEXT, VALUE_OF_7))


def test_an_older_secret_is_accepted_and_signs_no_more() -> None:
    older = Signing("app", SIGNING.secrets[1:]).signature("f1")
    assert SIGNED.unsign(TEXT, older.sign(TEXT, VALUE_OF_7)) == VALUE_OF_7
    assert SIGNED.sign(TEXT, VALUE_OF_7) != older.sign(TEXT, VALUE_OF_7)


@given(st.integers(0, 2**16), st.integers(1, 255))
def test_a_changed_bit_is_refused(at: int, change: int) -> None:
    signed = bytearray(SIGNED.sign(TEXT, VALUE_OF_7))
    signed[at % len(signed)] ^= change
    with pytest.raises(CodecError):
        SIGNED.unsign(TEXT, bytes(signed))


@given(st.binary(max_size=40))
def test_signatures_are_not_guessed(data: bytes) -> None:
    with pytest.raises(CodecError):
        SIGNED.unsign(TEXT, data)


def test_bookmarks_and_values_are_signed_with_other_keys() -> None:
    """With one secret: who can have the one signed cannot make the other of it."""
    bookmark = BookmarkSigner(SIGNING.secrets).sign("user:7")
    body, _, signature = bookmark.rpartition(".")
    given = base64.urlsafe_b64decode(signature + "=")
    with pytest.raises(CodecError):
        SIGNED.unsign("", body.encode() + given[:LENGTH])


def test_signed_values_lie_elsewhere() -> None:
    assert Signing("app").fingerprint("f1") == "f1"
    assert SIGNING.fingerprint("0123456789abcdef") != "0123456789abcdef"
    assert len(SIGNING.fingerprint("0123456789abcdef")) == 16


def test_in_l1_each_lives_for_its_own_time() -> None:
    made, _ = values()
    assert made.local_life(CachedRow(ROW)) == 60
    assert made.local_life(CachedRow(None)) == 30
    longer, _ = values(dataclasses.replace(NEVER_JITTERED, local_ttl=5))
    assert longer.local_life(CachedRow(None)) == 5
    none, _ = values(dataclasses.replace(NEVER_JITTERED, negative_ttl=0))
    assert none.local_life(CachedRow(None)) == 0


@given(st.floats(0.01, 0.5))
def test_times_are_shortened_by_the_share_and_never_lengthened(jitter: float) -> None:
    made, _ = values(dataclasses.replace(NEVER_JITTERED, jitter=jitter))
    for full, lives in (
        (300, [made.encode(TEXT, ROW)[1] for _ in range(8)]),
        (30, [made.encode(TEXT, None)[1] for _ in range(8)]),
        (60, [made.local_life(CachedRow(ROW)) for _ in range(8)]),
    ):
        assert all(full * (1 - jitter) <= life <= full for life in lives)
        assert len(set(lives)) > 1


def test_a_lease_is_known_by_its_mark() -> None:
    assert is_lease(LEASE + b"nonce")
    assert not any(map(is_lease, (b"", ABSENT, VALUE + LEASE)))


def test_a_digest_is_what_the_scripts_make_of_it() -> None:
    assert digest(b"value") == hashlib.sha1(b"value", usedforsecurity=False).hexdigest()
