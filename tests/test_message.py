"""The invalidation message: what docs/wire-format.md shows, and whatever else may come over the
channel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen, decode
from repocache.history import LAST
from repocache.records.message import WIRE_VERSION, Message, parse

PAGE = Path(__file__).parents[1] / "docs" / "wire-format.md"
SHOWN = b"""{"v":2,"b":17,"i":"9f2c6a01d1a4e0b81","s":5,"t":"c04ad6a2b8f1337e",
 "h":"7711521039664438273.1.04cc19ceadc8","o":"9f2c6a01d1a4e0b8",
 "k":["user:42","user:57"],"p":"51fe0ba9d2c4a610",
 "w":{"user":["9f2c6a01d1a4e0b82",3,"8e11d2f04cb7a935"]},"f":"0000000003000130"}"""
MEANT = Message(
    version=2,
    bucket=17,
    incarnation="9f2c6a01d1a4e0b81",
    seq=5,
    history="7711521039664438273.1.04cc19ceadc8",
    origin="9f2c6a01d1a4e0b8",
    keys=("user:42", "user:57"),
    floor="0000000003000130",
    owners={"user": ("9f2c6a01d1a4e0b82", 3, "8e11d2f04cb7a935")},
    tip="c04ad6a2b8f1337e",
    before="51fe0ba9d2c4a610",
)


def test_the_message_shown_means_what_the_page_says() -> None:
    assert WIRE_VERSION == 2
    assert parse(SHOWN) == MEANT
    assert MEANT.position == 0x3000130


def test_it_is_the_one_on_the_page() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert json.loads(shown) == json.loads(SHOWN)


def test_a_record_made_anew() -> None:
    made = parse(b'{"v":2,"b":0,"i":"i","s":0,"t":"i","h":""}')
    assert made == Message(version=2, bucket=0, incarnation="i", seq=0, history="", tip="i")
    assert made is not None
    assert made.position is None


def test_it_is_written_under_the_same_names() -> None:
    written = json.loads(msgspec.json.encode(MEANT))
    assert {**written, "g": None, "a": None} == {**json.loads(SHOWN), "g": None, "a": None}


def test_an_owner_that_changed_as_a_whole() -> None:
    moved = parse(
        b'{"v":2,"b":1030,"i":"i","s":4,"h":"h","o":"p","k":[],"g":{"user":"i2"},"w":{},"f":"00000000000000ff"}'
    )
    assert moved == Message(
        2, 1030, "i", 4, "h", "p", generations={"user": "i2"}, floor="00000000000000ff"
    )


def test_what_a_later_release_adds_is_passed_over() -> None:
    assert parse(SHOWN[:-1] + b',"z":[1]}') == MEANT


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        SHOWN[:-1],
        SHOWN + b"x",
        SHOWN.replace(b'"v":2', b'"v":1'),
        SHOWN.replace(b'"v":2', b'"v":"2"'),
        SHOWN.replace(b'"b":17', b'"b":"17"'),
        SHOWN.replace(b'"s":5', b'"s":5.5'),
        SHOWN.replace(b'"s":5,', b""),
        SHOWN.replace(b'"h":', b'"hh":'),
        SHOWN.replace(b"user:42", b"user:\xff"),
        SHOWN.replace(b"0000000003000130", b"no number"),
        SHOWN.replace(b"0000000003000130", b""),
        SHOWN.replace(b"0000000003000130", b"-000000003000130"),
        SHOWN.replace(b"0000000003000130", b"0x00000003000130"),
        SHOWN.replace(b"0000000003000130", b" 000000003000130"),
        SHOWN.replace(b"0000000003000130", b"0_00000003000130"),
        SHOWN.replace(b"0000000003000130", b"8000000000000000"),
        SHOWN.replace(b"0000000003000130", b"00000000003000130"),
        SHOWN.replace(b'"s":5', b'"s":-1'),
        SHOWN.replace(b'"s":5', b'"s":9223372036854775808'),
        SHOWN.replace(b'"s":5', b'"s":18446744073709551616'),
        SHOWN.replace(b'"s":5', b'"s":1' + b"0" * 5000),
        SHOWN.replace(b'"b":17', b'"b":-1'),
        SHOWN.replace(b'"b":17', b'"b":18446744073709551616'),
        b'{"v":2,"later":' + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_none(payload: bytes) -> None:
    assert parse(payload) is None


def test_the_furthest_that_it_may_tell_of() -> None:
    message = parse(
        SHOWN.replace(b"0000000003000130", b"7fffffffffffffff").replace(b'"s":5', b'"s":%d' % LAST)
    )
    assert message is not None
    assert (message.position, message.seq) == (LAST, LAST)


values: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**60, 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)


@given(st.binary() | values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_none_and_never_raises(payload: bytes) -> None:
    assert parse(payload) is None


@given(st.dictionaries(st.sampled_from("bishokgf"), values))
def test_a_message_with_anything_in_its_fields_never_raises(fields: dict[str, object]) -> None:
    shown = json.loads(SHOWN)
    message = parse(json.dumps(shown | fields).encode())
    if message is not None:
        wrote = {message.bucket: Seen(message.incarnation, message.seq)}
        mark = Bookmark(message.history, message.position, wrote, covered=True, expires=1.0)
        assert decode(mark.encode(), None) == mark, "who reads behind it can send it on"
