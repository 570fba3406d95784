"""Redis is stopped where it is, its connections open and silent: one deadline, no more, and
recovery by itself."""

from __future__ import annotations

import asyncio

from proof.acceptance.conftest import Start, Truth, nothing_waits
from proof.acceptance.storm import IDS
from repocache.testing import Servers


async def test_redis_frozen(start: Start, truth: Truth, repocache_controls: Servers) -> None:
    redis = repocache_controls.redis
    one, other = remotes = await asyncio.gather(start(), start())
    await truth.assert_caches_right(*remotes)
    marks = [len(remote.events) for remote in remotes]
    await asyncio.to_thread(redis.freeze)
    wrote, ages = await asyncio.gather(
        one.ask("write", id=7),
        other.ask("everything", ids=[id for id in IDS if id != 7], tier="l2"),
    )
    assert (wrote["age"], wrote["read"], wrote["covered"]) == (8, 8, False)
    assert ages == [id for id in IDS if id != 7]
    for remote, mark in zip(remotes, marks, strict=True):
        assert "no reply within" in (await remote.until_told("ChannelDown", mark))["why"]
    for id in IDS:
        late = await one.ask("write", id=id)
        assert (late["age"], late["read"], late["covered"]) == (late["age"], late["age"], False)
        for remote in remotes:
            seen = await remote.ask("read", id=id, bookmark=late["bookmark"])
            assert (seen["tier"], seen["age"]) == ("database", late["age"])
    for remote, mark in zip(remotes, marks, strict=True):
        assert len(remote.told("ChannelDown", mark)) == 1, "nobody waited for it again"
        waited = [
            each for each in remote.told("CacheFailed", mark) if "no reply within" in each["why"]
        ]
        assert len([each for each in waited if each["what"] != "link"]) <= len(IDS), (
            "but those under way"
        )
    await asyncio.to_thread(redis.thaw)
    for remote, mark in zip(remotes, marks, strict=True):
        assert (await remote.until_told("ChannelUp", mark))["local"] == 0
        await nothing_waits(remote)
    await truth.assert_caches_right(*remotes)
    wrote = await one.ask("write", id=7)
    assert wrote["covered"]
    assert (await other.ask("read", id=7, bookmark=wrote["bookmark"]))["age"] == wrote["age"] == 10
