"""Against the size of a value: the bytes of a row's text, random so that nothing is compressed.

Fewer rows where they are large. A commit writes the whole text again.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial

import msgspec

from benchmarks._growth.contest import Axis, Contest, Extent, Study, studied
from benchmarks._growth.ground import Ground
from benchmarks._growth.paths import (
    COMMIT,
    GET,
    HIT,
    MISS,
    SESSION,
    UPDATE,
    fill_redis,
    our_commits,
    our_hits,
    our_misses,
    plain_commits,
    put,
    redis_get,
    session_get,
    with_fills,
)
from benchmarks._growth.place import LONG, Document, Documents, Place
from benchmarks._harness import Load, Measure, under
from repocache import KeyOwner, Repository
from repocache.testing import Endpoints

CALLERS = 16
ROOM = 64_000_000
"""Bytes of all rows of a size."""
FEWEST = 64
APART = 10_000
"""Ids between one size's rows and the next one's: that of a size is so many times its length."""
INSERT = """
INSERT INTO documents SELECT :begin + n,
    left((SELECT string_agg(md5(random()::text || n || part), '')
        FROM generate_series(0, :size / 32) AS part), :size)
FROM generate_series(0, :last) AS n
"""


class Text(msgspec.Struct, array_like=True, frozen=True):
    """A document as a hand-written cache would decode it."""

    id: int
    body: str


class ColdDocuments(Repository[Document, int]):
    """The same rows under other keys, which are forgotten before each round."""

    owner = KeyOwner("cold-document")
    policy = LONG


class WrittenDocuments(Repository[Document, int]):
    """The same rows once more, so that commits leave the others' values alone."""

    owner = KeyOwner("written-document")
    policy = LONG


def place(size: int, most: int, repository: type[Repository[Document, int]] = Documents) -> Place:
    """The rows of this size, not more than `most`. A commit writes another text than the one
    before."""
    count = max(FEWEST, min(most, ROOM // size))
    begin = APART * size.bit_length()
    texts = [secrets.token_hex(size)[:size] for _ in range(2)]
    change = iter(range(1 << 62))
    return Place(
        (Document,),
        (repository,),
        count,
        begin,
        lambda _: {"body": texts[next(change) % 2]},
    )


def contests(ends: Endpoints, extent: Extent) -> list[Contest]:
    most = extent.warm

    def measure(size: int, *, seconds: float = extent.closed) -> Measure:
        return under(Load(CALLERS, place(size, most).numbers), seconds)

    def misses(size: int) -> Measure:
        return with_fills(Load(CALLERS, place(size, most).numbers, once=True), extent.closed)

    return [
        Contest(
            HIT,
            GET,
            lambda size: partial(our_hits, ends, place(size, most)),
            lambda size: partial(redis_get, ends, place(size, most), Text),
            measure,
        ),
        Contest(
            MISS,
            SESSION,
            lambda size: partial(our_misses, ends, place(size, most, ColdDocuments)),
            lambda size: partial(session_get, ends, place(size, most, ColdDocuments)),
            misses,
        ),
        Contest(
            COMMIT,
            UPDATE,
            lambda size: partial(our_commits, ends, place(size, most, WrittenDocuments)),
            lambda size: partial(plain_commits, ends, place(size, most, WrittenDocuments)),
            partial(measure, seconds=1.5 * extent.closed),
        ),
    ]


async def study(ground: Ground, points: Sequence[int], extent: Extent) -> Study:
    ends = ground.ends
    await ground.make_tables()
    for size in points:
        here = place(size, extent.warm)
        values = {"begin": here.begin, "size": size, "last": here.count - 1}
        await ground.execute([(INSERT, values)])
        await fill_redis(ends, here)
        body = secrets.token_hex(size)[:size]
        await put(ends, range(here.numbers), here, partial(Text, body=body))
    return await studied(contests(ends, extent), points, extent.rounds)


SIZES = Axis(
    "sizes", "bytes of a value", (100, 1_000, 10_000, 100_000, 1_000_000), (10_000,), study
)
