"""Whatever somebody writes in the records' place: it is as if there were none, it heals, and it holds up nobody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from repocache.authorship import Anybody
from repocache.records import SCRIPTS, Ask, Intent, Namespace, Nonces, Opened, RedisRecords
from repocache.records.names import VALUE
from repocache.testing import Servers
from repocache.wire import Address, Link
from tests.records.test_contract import ASK, MAX_VALUE, OWN, TERMS, Listener, change, lease, whole

KINDS = (
    *("", " ", "nan", "inf", "-1", "1.5", "1e3", "0x10", "007", "5\n", "9223372036854775807", "9223372036854775808"),
    *("ffffffffffffffff", "FFFFFFFFFFFFFFFF", "7FFFFFFFFFFFFFFF", "é", "\x00", '"', "'}", "{b1}", "*", "a:b"),
    *("x" * 65, "y" * 100_000, ",".join(["f"] * 5_000)),
)
NAME, POSITION = r"[0-9A-Za-z]{1,64}", r"[0-7][0-9a-f]{15}"
FIELDS = {
    "i": NAME,
    "r": "",
    "h": ".*",
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

    async def call(self, *command: str) -> Any:
        return await self._link.call(*command)

    async def works(self) -> None:
        """A value is filled, found, invalidated by its key and with its owner, and all of it heals at once."""
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
        assert (second.incarnation, second.owner.incarnation) == (third.incarnation, third.owner.incarnation)

    async def found(self) -> Opened:
        return await self.records.open(ASK, TERMS)


@pytest.fixture
async def place(repocache_servers: Servers) -> AsyncIterator[Place]:
    nonces, listener = Nonces(), Listener()
    namespace = Namespace(f"test{nonces.process}")
    link = Link(Address.parse(repocache_servers.redis.url), listener, scripts=SCRIPTS, channels=(namespace.channel,))
    async with link:
        assert listener.facts is not None
        server = str(listener.facts.identity)
        records = RedisRecords(link, namespace, nonces, Anybody(), lambda: server, max_value=MAX_VALUE)
        yield Place(records, namespace, link)


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("bucket", [ASK.bucket, OWN], ids=["of the keys", "of the owner"])
async def test_whatever_a_record_holds_it_heals(place: Place, bucket: int, field: str) -> None:
    for garbage in KINDS:
        await place.works()
        record = place.namespace.record(bucket)
        await place.call("HSET", record, field, garbage)
        if field == "h":
            # A history of somebody else, perhaps: the caller polls the primary first.
            assert (await place.found()).kind == "history"
            await place.records.open(ASK._replace(text="user:99"), TERMS._replace(confirmed=True))
        elif not re.fullmatch(FIELDS[field], garbage) and f"{field[0]}{bucket}" not in (f"g{ASK.bucket}", f"p{OWN}"):
            await place.records.open(ASK._replace(text="user:98"), TERMS)
            # What was empty is not any more; of anything else nothing is left.
            now = (await place.call("HGET", record, field) or b"none").decode()
            assert re.fullmatch(FIELDS[field] or ".+", now) or now == "none"
        await place.works()


@pytest.mark.parametrize("command", WRONG_TYPES, ids=lambda command: command[0])
@pytest.mark.parametrize("bucket", [ASK.bucket, OWN], ids=["of the keys", "of the owner"])
async def test_so_does_a_key_of_another_type(place: Place, bucket: int, command: Iterable[str]) -> None:
    await place.works()
    name, *values = command
    record = place.namespace.record(bucket)
    await place.call("DEL", record)
    await place.call(name, record, *values)
    await place.works()


LEASES = ("", "x", "7", "7:", ":7", "7:x", "-7:9", "7:9999999999999999", f"{'7' * 21}:1", "7:1e300", "7:7:7")


@pytest.mark.parametrize("held", LEASES)
async def test_a_write_lease_that_is_none_hides_nothing(place: Place, held: str) -> None:
    await place.works()
    for name in (f"{place.namespace.record(ASK.bucket)}:W:{ASK.text}", f"{place.namespace.record(OWN)}:W:user"):
        await place.call("HSET", name, "nonce", held)
    await place.works()


async def test_nor_does_what_is_no_hash_of_them(place: Place) -> None:
    names = f"{place.namespace.record(ASK.bucket)}:W:{ASK.text}", f"{place.namespace.record(OWN)}:W:user"
    for name in names:
        await place.call("SET", name, "text")
    await place.works()
    for name in names:
        await place.call("SET", name, "text")
    intent = Intent(ASK.bucket, (("user", ASK.text),), (), ("user",), "mine", "7", 5.0)
    assert not (await place.records.intend(intent, TERMS)).history
    assert (await place.found()).kind == "written"
    await place.records.give_back(intent)
    assert (await place.found()).kind == "lease"


@pytest.mark.parametrize("life", [(), ("PX", "3600000")], ids=["without an end", "for an hour"])
async def test_a_lease_that_nobody_of_us_took_is_not_waited_for(place: Place, life: tuple[str, ...]) -> None:
    opened = await place.records.open(ASK, TERMS)
    own = Ask(*ASK)
    prefix = place.namespace.prefix(own.bucket, opened.incarnation, opened.generation, own.fingerprint)
    await place.call("SET", prefix + own.text, "Lforged", *life)
    assert (await place.found()).kind == "lease"
    await asyncio.sleep(0)
    assert (await place.found()).kind == "wait", "that one is ours"
