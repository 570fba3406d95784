"""Whatever somebody writes in the records' place: it is as if there were none, it heals, and it
holds up nobody."""

from __future__ import annotations

import asyncio
import re
import string
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repocache.errors import CacheUnavailable
from repocache.records import (
    SCRIPTS,
    Intent,
    Namespace,
    Nonces,
    OpenReply,
    OpenRequest,
    RedisRecords,
)
from repocache.records.authorship import Anybody
from repocache.records.names import VALUE
from repocache.records.registering import LONGEST_LIST
from repocache.redis_link import Address, Link, ReplyError
from repocache.testing import Servers
from tests.fuzzing import examples
from tests.records.test_contract import ASK, MAX_VALUE, OWN, TERMS, Listener, change, lease, whole

KINDS = (
    *(
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "1.5",
        "1e3",
        "0x10",
        "007",
        "5\n",
        "9223372036854775807",
        "9223372036854775808",
    ),
    *(
        "ffffffffffffffff",
        "FFFFFFFFFFFFFFFF",
        "7FFFFFFFFFFFFFFF",
        "é",
        "\x00",
        '"',
        "'}",
        "{b1}",
        "*",
        "a:b",
    ),
    *("x" * 65, "y" * 100_000, ",".join(["f"] * 5_000)),
)
NAME, POSITION = r"[0-9A-Za-z]{1,64}", r"[0-7][0-9a-f]{15}"
FIELDS = {
    "i": NAME,
    "r": "",
    "h": r"[!-~]{0,256}",
    "s": r"0|[1-9]\d{0,17}",
    "t": NAME,
    "f": POSITION,
    "m": POSITION,
    "g:user": NAME,
    "p:user": r"[0-9A-Za-z,]{0,4096}",
}
"""Of a record, and the form of what the scripts write there."""
WRONG_TYPES = (
    ("SET", "text"),
    ("RPUSH", "a", "b"),
    ("SADD", "a"),
    ("ZADD", "1", "a"),
    ("HSET", "i", "only"),
)


class Place:
    """The records, and somebody else who writes in the same Redis."""

    def __init__(self, records: RedisRecords, namespace: Namespace, link: Link) -> None:
        self.records = records
        self.namespace = namespace
        self._link = link

    async def call(self, *command: str | bytes) -> Any:
        return await self._link.call(*command)

    async def works(self) -> None:
        """A value is filled, found, invalidated by its key and with its owner, and all of it heals
        at once."""
        first = await self.records.open(ASK, TERMS)
        if first.kind == "wait":
            pytest.fail("nobody loads it")
        if first.kind == "lease":
            assert await self.records.fill(lease(first), TERMS, VALUE + b"row", 10.0)
            assert (await self.found()).value == VALUE + b"row"
        receipt = await self.records.change(change(100), TERMS)
        assert not receipt.history
        assert (await self.found()).kind == "lease"
        await self.records.change(whole(200), TERMS)
        second = await self.records.open(ASK._replace(text="user:43"), TERMS)
        third = await self.records.open(ASK._replace(text="user:44"), TERMS)
        assert (second.kind, third.kind) == ("lease", "lease")
        assert (second.incarnation, second.owner.incarnation) == (
            third.incarnation,
            third.owner.incarnation,
        )

    async def heals(self) -> None:
        """It works, once others are done with it: a history is polled for, a load and write leases
        are over."""
        for _ in range(10):
            seen = await self.found()
            if seen.kind == "lease":
                await self.records.fill(lease(seen), TERMS, b"", 1.0)  # given back
                return await self.works()
            if seen.kind == "history":
                await self.records.open(
                    ASK._replace(text="user:99"), TERMS._replace(confirmed=True)
                )
            elif seen.kind == "written":
                over = tuple(lease.nonce for lease in seen.overdue)
                await self.records.open(ASK._replace(text="user:98", over=over), TERMS)
                for name in self.leases:
                    await self.call("DEL", name)
            else:
                shape = self.namespace.prefix(
                    ASK.bucket, seen.incarnation, seen.generation, ASK.fingerprint
                )
                await self.call("DEL", shape + ASK.text)
        pytest.fail(f"it does not heal: {await self.found()!r}")

    @property
    def leases(self) -> tuple[str, str]:
        """Names of the write leases of the key, and of its owner."""
        return (
            f"{self.namespace.record(ASK.bucket)}:W:{ASK.text}",
            f"{self.namespace.record(OWN)}:W:user",
        )

    async def found(self) -> OpenReply:
        return await self.records.open(ASK, TERMS)


@pytest.fixture
async def place(repocache_servers: Servers) -> AsyncIterator[Place]:
    nonces, listener = Nonces(), Listener()
    namespace = Namespace(f"test{nonces.process}")
    link = Link(
        Address.parse(repocache_servers.redis.url),
        listener,
        scripts=SCRIPTS,
        channels=(namespace.channel,),
    )
    async with link:
        assert listener.facts is not None
        server = str(listener.facts.identity)
        records = RedisRecords(
            link, namespace, nonces, Anybody(), SimpleNamespace(server=server), max_value=MAX_VALUE
        )
        yield Place(records, namespace, link)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("bucket", [ASK.bucket, OWN], ids=["of the keys", "of the owner"])
async def test_whatever_a_record_holds_it_heals(place: Place, bucket: int, field: str) -> None:
    for garbage in KINDS:
        await place.works()
        record = place.namespace.record(bucket)
        await place.call("HSET", record, field, garbage)
        if field == "h" and re.fullmatch(FIELDS[field], garbage):
            # A history of somebody else, perhaps: the caller polls the primary first.
            assert (await place.found()).kind == "history"
            await place.records.open(ASK._replace(text="user:99"), TERMS._replace(confirmed=True))
        elif not re.fullmatch(FIELDS[field], garbage) and f"{field[0]}{bucket}" not in (
            f"g{ASK.bucket}",
            f"p{OWN}",
        ):
            await place.records.open(ASK._replace(text="user:98"), TERMS)
            # What was empty is not any more; of anything else nothing is left.
            now = (await place.call("HGET", record, field) or b"none").decode()
            assert re.fullmatch(FIELDS[field] or ".+", now) or now == "none"
        await place.works()


@pytest.mark.parametrize("command", WRONG_TYPES, ids=lambda command: command[0])
@pytest.mark.parametrize("bucket", [ASK.bucket, OWN], ids=["of the keys", "of the owner"])
async def test_so_does_a_key_of_another_type(
    place: Place, bucket: int, command: Iterable[str]
) -> None:
    await place.works()
    name, *values = command
    record = place.namespace.record(bucket)
    await place.call("DEL", record)
    await place.call(name, record, *values)
    await place.works()


LEASES = (
    "",
    "x",
    "7",
    "7:",
    ":7",
    "7:x",
    "-7:9",
    "7:9999999999999999",
    f"{'7' * 21}:1",
    "7:1e300",
    "7:7:7",
)


@pytest.mark.parametrize("held", LEASES)
async def test_a_write_lease_that_is_none_hides_nothing(place: Place, held: str) -> None:
    await place.works()
    for name in place.leases:
        await place.call("HSET", name, "nonce", held)
    await place.works()


async def test_what_is_no_text_heals(place: Place) -> None:
    """1. A lease's name, or a history, is bytes that no process can read; 2. each that asks fails,
    and nobody heals."""
    for name in place.leases:
        await place.works()
        await place.call("HSET", name, b"\xa9", "7:4516")
        await place.works()
    for bucket in (ASK.bucket, OWN):
        await place.works()
        await place.call("HSET", place.namespace.record(bucket), "h", b"J\xc0")
        await place.works()


async def test_nor_does_what_is_no_hash_of_them(place: Place) -> None:
    for name in place.leases:
        await place.call("SET", name, "text")
    await place.works()
    for name in place.leases:
        await place.call("SET", name, "text")
    intent = Intent(ASK.bucket, (("user", ASK.text),), (), ("user",), "mine", "7", 5.0)
    assert not (await place.records.intend(intent, TERMS)).history
    assert (await place.found()).kind == "written"
    await place.records.release(intent)
    assert (await place.found()).kind == "lease"


@pytest.mark.parametrize("life", [(), ("PX", "3600000")], ids=["without an end", "for an hour"])
async def test_a_lease_that_nobody_of_us_took_is_not_waited_for(
    place: Place, life: tuple[str, ...]
) -> None:
    opened = await place.records.open(ASK, TERMS)
    own = OpenRequest(*ASK)
    prefix = place.namespace.prefix(
        own.bucket, opened.incarnation, opened.generation, own.fingerprint
    )
    await place.call("SET", prefix + own.text, "Lforged", *life)
    assert (await place.found()).kind == "lease"
    await asyncio.sleep(0)
    assert (await place.found()).kind == "wait", "that one is ours"


PLACES = (
    "the keys' record",
    "the owner's record",
    "leases of the key",
    "leases of the owner",
    "the value",
)
LIKELY = st.one_of(
    st.from_regex(NAME, fullmatch=True),
    st.from_regex(POSITION, fullmatch=True),
    st.integers(-(10**19), 10**19).map(str),
    st.tuples(st.integers(0, 10**19), st.integers(0, 10**15)).map("{0[0]}:{0[1]}".format),
    st.sampled_from(KINDS),
    st.text(string.ascii_letters + ",:{}", max_size=80),
).map(str.encode)
CONTENT = LIKELY | st.binary(max_size=80)
FIELD = st.sampled_from([*FIELDS, "nonce"]).map(str.encode) | st.binary(max_size=20)
COMMAND = st.one_of(
    st.tuples(st.just("HSET"), FIELD, CONTENT),
    st.tuples(st.just("HDEL"), FIELD),
    st.tuples(
        st.just("SET"),
        st.sampled_from([b"", b"V", b"N", b"L"]).flatmap(lambda mark: CONTENT.map(mark.__add__)),
    ),
    st.tuples(st.just("RPUSH"), CONTENT),
    st.tuples(st.just("PERSIST")),
    st.tuples(st.just("PEXPIRE"), st.integers(10**7, 10**9).map(lambda life: str(life).encode())),
    st.tuples(st.just("DEL")),
)
Written = list[tuple[str, tuple[Any, ...]]]


def drawn() -> list[Written]:
    """Before anything runs: Hypothesis bears nobody beside it who draws at random."""
    found: list[Written] = []

    @settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(PLACES), COMMAND), min_size=1, max_size=5))
    def draw(written: Written) -> None:
        found.append(written)

    draw()
    return found


async def test_whatever_is_written_in_all_their_places_they_heal(place: Place) -> None:
    for written in drawn():
        seen = await place.found()
        shape = place.namespace.prefix(
            ASK.bucket, seen.incarnation, seen.generation, ASK.fingerprint
        )
        records = place.namespace.record(ASK.bucket), place.namespace.record(OWN)
        names = dict(zip(PLACES, (*records, *place.leases, shape + ASK.text), strict=True))
        try:
            for where, (name, *content) in written:
                with suppress(ReplyError):  # a key of that type is there
                    await place.call(name, names[where], *content)
            await place.heals()
        except BaseException as error:
            raise AssertionError(f"{written!r}") from error


async def test_a_list_of_shapes_that_nobody_of_us_wrote_is_begun_anew(place: Place) -> None:
    """Whoever looks takes a list that is too long for no record, and tells all tags."""
    await place.records.register("user", ["a"], TERMS)
    record = place.namespace.record(OWN)
    await place.call("HSET", record, "q:user", "x" * (LONGEST_LIST + 1))
    assert await place.records.look(OWN, "user", TERMS) is None
    registered = await place.records.register("user", ["b"], TERMS)
    assert registered.shapes == ("b",)
    await place.call("HSET", record, "q:user", b"\xff\xfe\nb\n\n")
    looked = await place.records.look(OWN, "user", TERMS)
    assert looked is not None
    assert len(looked.shapes) == 3, "one is what nobody knows, so that all tags are told"
    await place.call("HSET", record, "f", "never")
    with pytest.raises(CacheUnavailable):
        await place.records.look(OWN, "user", TERMS)
    await place.heals()


@pytest.mark.parametrize("wrong", WRONG_TYPES, ids=str)
async def test_what_is_no_record_is_none_to_who_looks(place: Place, wrong: tuple[str, ...]) -> None:
    command, *rest = wrong
    await place.call(command, place.namespace.record(OWN), *rest)
    assert await place.records.look(OWN, "user", TERMS) is None
    assert (await place.records.register("user", ["a"], TERMS)).shapes == ("a",)
