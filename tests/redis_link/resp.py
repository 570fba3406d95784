"""RESP3 as hypothesis makes it: right replies, and bytes that only look like some."""

from __future__ import annotations

from hypothesis import strategies as st

WORDS = st.binary(max_size=60) | st.sampled_from(
    [b"", b"\r\n", b"$5\r\n", b"*9999999999\r\n", b"message", b"news"]
)


def bulk(text: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(text), text)


def cut(stream: bytes, size: int) -> list[bytes]:
    return [stream[at : at + size] for at in range(0, len(stream), size)]


def _line(mark: bytes) -> st.SearchStrategy[bytes]:
    return st.text("abc -:1", max_size=20).map(lambda text: b"%b%b\r\n" % (mark, text.encode()))


NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: b":%d\r\n" % number)
SCALARS = st.one_of(
    WORDS.map(bulk),
    WORDS.map(lambda text: b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text)),
    NUMBERS,
    _line(b"+"),
    st.sampled_from(
        [
            b"_\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b",1.5\r\n",
            b",-inf\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"*0\r\n",
        ]
    ),
)


def _lists(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    lists = st.lists(inner, max_size=4).map(
        lambda items: b"*%d\r\n%b" % (len(items), b"".join(items))
    )
    pairs = st.lists(st.tuples(NUMBERS, inner), max_size=3)
    return lists | pairs.map(
        lambda items: b"%%%d\r\n%b" % (len(items), b"".join(map(b"".join, items)))
    )


def reply() -> st.SearchStrategy[bytes]:
    """One whole reply, no error."""
    return st.recursive(SCALARS, _lists, max_leaves=8)


def replies() -> st.SearchStrategy[bytes]:
    return st.lists(reply(), max_size=6).map(b"".join)


def _header(mark: bytes) -> st.SearchStrategy[bytes]:
    numbers = st.integers(-3, 12) | st.sampled_from(
        [65_535, 65_537, 2**31 - 1, 2**31, 2**62, 2**64, 10**30]
    )
    return numbers.map(lambda number: b"%b%d\r\n" % (mark, number))


def lies() -> st.SearchStrategy[bytes]:
    """Whatever a server may say."""
    headers = st.sampled_from(
        [b"$", b"*", b"%", b"~", b">", b"=", b"(", b"|", b"!", b":", b","]
    ).flatmap(_header)
    push = st.tuples(WORDS, WORDS).map(
        lambda pair: b">3\r\n$7\r\nmessage\r\n" + bulk(pair[0]) + bulk(pair[1])
    )
    refusals = st.sampled_from(
        [b"-ERR no\r\n", b"-NOSCRIPT no\r\n", b"-READONLY no\r\n", b"-BUSY no\r\n", b"-\r\n"]
    )
    frames = st.one_of(reply(), headers, push, refusals, _line(b"-"), WORDS, st.binary(max_size=8))
    return st.lists(frames, max_size=30).map(b"".join)
