"""Each right that docs/redis.md names is needed: without it something that the records are asked
for does not come."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from repocache.keys import owner_bucket
from repocache.records import (
    SCRIPTS,
    CallerHistory,
    Change,
    Intent,
    Lease,
    Namespace,
    Nonces,
    OpenRequest,
    RedisRecords,
)
from repocache.records.authorship import Anybody
from repocache.records.names import VALUE
from repocache.records.port import Put, Writing
from repocache.records.sampler import RedisSampler
from repocache.redis_link import Address, Link
from repocache.testing import Servers
from tests.records.test_contract import Listener

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
LINE = next(
    line for line in re.findall(r"^ACL SETUSER .*$", PAGE, re.MULTILINE) if "sentinel" not in line
)
WORDS = LINE.replace("<app>", "rights").replace("<password>", "own").split()
USER = WORDS[2]
RIGHTS = [word[1:] for word in WORDS if word.startswith("+")]
TERMS = CallerHistory("1/1/a")
ASK = OpenRequest(17, owner_bucket("user"), "user", "f1", "user:42", 5.0)


@pytest.fixture
def address(repocache_servers: Servers) -> Iterator[Address]:
    """As the user of the documented line, in an empty Redis."""
    redis = repocache_servers.redis
    redis.clear()
    redis.command(*WORDS)
    yield Address.parse(f"redis://{USER}:own@{redis.host}:{redis.port}/0")
    redis.command("ACL", "DELUSER", USER)


class Told(Listener):
    def __init__(self) -> None:
        super().__init__()
        self.troubles: list[str] = []

    def on_error(self, text: str) -> None:
        self.troubles.append(text)


async def serves(address: Address) -> str:
    """What does not come as it should, empty if all does."""
    nonces, namespace, listener = Nonces(), Namespace("rights"), Told()
    link = Link(address, listener, scripts=SCRIPTS, channels=(namespace.channel,))
    async with link:
        if not link.alive or listener.facts is None:
            return f"the handshake: {listener.troubles}"
        server = str(listener.facts.identity)
        records = RedisRecords(
            link, namespace, nonces, Anybody(), SimpleNamespace(server=server), max_value=1000
        )
        try:
            await everything(records, namespace)
            sampler = RedisSampler(link, namespace, 1000)
            assert len(await sampler.values(list(await sampler.places(200)))) == 1
        except Exception as error:  # noqa: BLE001  # whatever it is
            return repr(error)
        return "" if listener.messages else "no message"


async def everything(records: RedisRecords, namespace: Namespace) -> None:
    """Every script and every reply that it has."""
    opened = await records.open(ASK, TERMS)
    assert opened.kind == "lease"
    assert (await records.open(ASK, TERMS)).kind == "wait"
    lease = Lease(ASK, opened.incarnation, opened.generation, opened.nonce)
    assert await records.fill(lease, TERMS, VALUE + b"1", 10.0)
    name = namespace.prefix(17, opened.incarnation, opened.generation, "f1") + ASK.text
    assert await records.get(name) == VALUE + b"1"
    assert (await records.open(ASK, TERMS)).value == VALUE + b"1"
    for place, state in (
        (17, opened.incarnation),
        (owner_bucket("user"), opened.owner.incarnation),
    ):
        assert await records.settle(place, TERMS, state, 100)
    keys = ((ASK.owner, ASK.text),)
    intent = Intent(17, keys, (), (), "n", "1", 5.0)
    await records.intend(intent, TERMS)
    assert await records.get(name) is None
    assert (await records.open(ASK, TERMS)).kind == "written"
    await records.release(intent)
    assert (await records.open(ASK, TERMS)).kind == "lease"
    put = Put(
        "user",
        ASK.text,
        "f1",
        opened.incarnation,
        opened.generation,
        VALUE + b"2",
        10.0,
        strict=False,
    )
    receipt = await records.change(Change(17, keys, (), 200, Writing(150, (put,))), TERMS)
    assert (receipt.seq, receipt.landed) == (opened.seq + 1, 1)


async def test_all_are_enough(address: Address) -> None:
    assert await serves(address) == ""


@pytest.mark.parametrize("right", RIGHTS)
async def test_each_is_needed(address: Address, repocache_servers: Servers, right: str) -> None:
    repocache_servers.redis.command("ACL", "SETUSER", USER, f"-{right}")
    assert await serves(address) != ""
