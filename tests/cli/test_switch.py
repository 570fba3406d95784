"""Switches for all processes: who hears of them, when they end, and what a dead Redis changes."""

from __future__ import annotations

import msgspec
import pytest

from repocache import CacheMode, Database
from repocache.cli.frame import CommandRefused
from repocache.cli.switch import find_mode, run_list, run_switch, seconds_of
from repocache.errors import CacheUnavailable, ConfigurationError
from repocache.records import Namespace
from repocache.runtime import switches as switches_module
from repocache.runtime.switch_signing import SwitchSigning
from repocache.runtime.switches import LONGEST, SharedSwitch, read_switches, switches_name
from repocache.testing import Servers
from tests.cli.conftest import Make
from tests.cli.shop_of_all import Authors, Posts
from tests.shop import until

ANYBODY = SwitchSigning((), accept_unsigned=False)
OFF = SharedSwitch(CacheMode.OFF, "ada", 100.0, 200.0)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switches_module, "EVERY", 0.05)


def packed(**fields: object) -> bytes:
    return msgspec.json.encode(fields)


def test_what_counts() -> None:
    good = msgspec.json.encode(OFF)
    fields = {
        "user": good,
        "over": msgspec.json.encode(msgspec.structs.replace(OFF, until=150.0)),
        "far": msgspec.json.encode(msgspec.structs.replace(OFF, until=1e12)),
        "x": b"\xff",
        "y": packed(mode="sideways", by="", since=0, until=200),
        "z": packed(mode="off"),
    }
    found, strange = read_switches(fields, 150.0, ANYBODY)
    assert found == {"user": OFF}
    assert strange == ["x", "y", "z"]


def test_who_may_switch() -> None:
    body = msgspec.json.encode(OFF)
    first, both = SwitchSigning(("a" * 32,), accept_unsigned=False), ("b" * 32, "a" * 32)
    value = first.seal("user", body)
    assert SwitchSigning(both, accept_unsigned=False).unseal("user", value) == body
    assert ANYBODY.unseal("user", value) == body, "who has no secret takes what others signed"
    assert first.unseal("post", value) is None, "it is of another owner"
    assert first.unseal("user", value[:-1] + b" ") is None
    assert first.unseal("user", b"") is None
    assert first.unseal("user", b"\xff" * 40) is None
    assert first.unseal("user", body) is None
    assert SwitchSigning(both, accept_unsigned=True).unseal("user", body) == body
    assert read_switches({"user": body}, 150.0, first) == ({}, ["user"])


def mode_of(db: Database, owner: type = Authors) -> CacheMode:
    return db._started.readers[owner].caches[0].switch.mode


async def test_all_processes_follow_and_return(opened: Make) -> None:
    async with opened() as db:
        await run_switch(opened(), Authors, CacheMode.OFF, (600, "ada"))
        await until(lambda: mode_of(db) is CacheMode.OFF, "it follows")
        assert mode_of(db, Posts) is CacheMode.ON
        async with opened() as late:
            assert mode_of(late) is CacheMode.OFF, "at start"
        [(owner, switch)] = (await run_list(opened())).items()
        assert (owner, switch.by, switch.until - switch.since) == ("author", "ada", 600)
        await run_switch(opened(), Authors, None, (1, ""))
        await until(lambda: mode_of(db) is CacheMode.ON, "it returns")
        assert await run_list(opened()) == {}


async def test_time_ends_it_also_without_redis(opened: Make, repocache_controls: Servers) -> None:
    async with opened() as db:
        await db.switch_everywhere(Authors, CacheMode.SHADOW, seconds=2)
        assert mode_of(db) is CacheMode.SHADOW
        repocache_controls.redis.stop()
        assert mode_of(db) is CacheMode.SHADOW
        await until(lambda: mode_of(db) is CacheMode.ON, "the time has passed")
        with pytest.raises(CacheUnavailable):
            await db.switch_everywhere(Authors, CacheMode.OFF)


async def test_on_again_begins_empty(opened: Make) -> None:
    async with opened() as db:
        await db[Authors].get(1)
        await until(lambda: db[Authors]._peek(1) is not None, "it is in L1")
        await db.switch_everywhere(Authors, CacheMode.OFF, by="ada")
        await db.switch_everywhere(Authors, None)
        assert mode_of(db) is CacheMode.ON
        assert db[Authors]._peek(1) is None


async def test_a_process_s_own_mode_is_what_it_returns_to(opened: Make) -> None:
    async with opened() as db:
        db.switch(Authors, CacheMode.SHARED)
        await db.switch_everywhere(Authors, CacheMode.OFF)
        db.switch(Authors, CacheMode.SHADOW)
        assert mode_of(db) is CacheMode.OFF
        await db.switch_everywhere(Authors, None)
        assert mode_of(db) is CacheMode.SHADOW


async def test_what_others_write_there_is_no_switch(
    opened: Make, repocache_servers: Servers
) -> None:
    name = switches_name(Namespace("app"))
    async with opened() as db:
        repocache_servers.redis.command("HSET", name, "author", "no json", "strange", "{}")
        await db._started.switches.look()
        assert mode_of(db) is CacheMode.ON
        repocache_servers.redis.command("DEL", name)
        repocache_servers.redis.command("SET", name, "no hash")
        await db._started.switches.look()
        assert mode_of(db) is CacheMode.ON


async def test_with_secrets_nobody_else_switches(opened: Make) -> None:
    secret = "a" * 32
    async with opened(secret) as db, opened() as stranger:
        await stranger.switch_everywhere(Authors, CacheMode.OFF, by="mallory")
        await db._started.switches.look()
        assert mode_of(db) is CacheMode.ON
        await run_switch(opened(secret), Authors, CacheMode.SHADOW, (600, "ada"))
        await until(lambda: mode_of(db) is CacheMode.SHADOW, "it follows its own")


async def test_what_cannot_be(opened: Make) -> None:
    async with opened() as db:
        for seconds in (0, -1, LONGEST + 1):
            with pytest.raises(ConfigurationError, match="at most a day"):
                await db.switch_everywhere(Authors, CacheMode.OFF, seconds=seconds)
        with pytest.raises(ConfigurationError, match="give a CacheMode"):
            await db.switch_everywhere(Authors, "off")  # type: ignore[arg-type]


@pytest.mark.parametrize("text, seconds", [("30s", 30), ("10m", 600), ("24h", 86_400)])
def test_durations(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "25h", "1d", "-1s", "1e3s", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(CommandRefused, match="give a duration"):
        seconds_of(text)


def test_modes() -> None:
    assert find_mode("off") is CacheMode.OFF
    assert find_mode("declared") is None
    for each in (None, "OFF", "sideways"):
        with pytest.raises(CommandRefused, match="is no mode"):
            find_mode(each)
