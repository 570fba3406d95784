"""Invalidations at a rate that no writer reaches: published as they are, without a commit.

Each follows on the last one of its record, as those of commits do, so they are believed, and cost
who hears them as much. The records in Redis stay as they were: a database that is opened after that
begins there again. The keys are in nobody's L1.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import msgspec

from benchmarks._growth.tasks import CHANNEL
from benchmarks._harness import Figures
from repocache.keys import bucket_of, owner_bucket
from repocache.records.message import WIRE_VERSION, Message
from repocache.records.names import Namespace
from repocache.settings import Settings

TICK = 0.002
"""Seconds between two portions."""
PORTION = 2_000
"""Messages of one portion at most, where the sender is late."""
PUBLISH = "for n = 2, #ARGV do redis.call('PUBLISH', ARGV[1], ARGV[n]) end"
OWNER = "user"
BEYOND = 1_000_000
"""Ids from here on are in nobody's cache."""

encode = msgspec.json.encode


class Forged(NamedTuple):
    """Where messages go, and the messages, without an end."""

    channel: str
    messages: Iterator[bytes]


class Record(NamedTuple):
    """As Redis has it."""

    incarnation: str
    seq: int
    tip: str
    history: str


async def record_of(client: Any, namespace: Namespace, bucket: int) -> Record | None:
    found = await client.hmget(namespace.record(bucket), "i", "s", "t", "h")
    if None in found:
        return None
    incarnation, seq, tip, history = (each.decode() for each in found)
    return Record(incarnation, int(seq), tip, history)


async def ours_forged(client: Any) -> Forged:
    """Raises LookupError if nobody has read yet: there are no records."""
    namespace, own = Namespace(Settings().app), owner_bucket(OWNER)
    records = {
        bucket: found
        for bucket in (*range(1_024), own)
        if (found := await record_of(client, namespace, bucket)) is not None
    }
    if own not in records or len(records) == 1:
        raise LookupError("no record is known")
    return Forged(namespace.channel, chained(records, own))


def chained(records: dict[int, Record], own: int) -> Iterator[bytes]:
    """Messages of keys that nobody has. `records`: moved on by them."""
    owners = {OWNER: (records[own].incarnation, records[own].seq, records[own].tip)}
    for id in count(BEYOND):
        text = f"{OWNER}:{id}"
        bucket = bucket_of(text)
        last = records.get(bucket)
        if last is None:
            continue
        now = records[bucket] = last._replace(seq=last.seq + 1, tip=secrets.token_hex(8))
        yield encode(
            Message(
                version=WIRE_VERSION,
                bucket=bucket,
                incarnation=now.incarnation,
                seq=now.seq,
                history=now.history,
                origin="storm",
                keys=(text,),
                owners=owners,
                tip=now.tip,
                before=last.tip,
            )
        )


def peers_forged() -> Forged:
    """As an application of its own would name keys."""
    return Forged(CHANNEL, (json.dumps([f"{OWNER}:{id}"]).encode() for id in count(BEYOND)))


class Storm:
    """`rate`: messages a second."""

    def __init__(self, client: Any, forged: Forged, rate: int) -> None:
        self._client = client
        self._forged = forged
        self._rate = rate

    async def blow(self, seconds: float) -> Figures:
        """Messages a second, us of CPU each."""
        ready = [next(self._forged.messages) for _ in range(int(self._rate * seconds))]
        publish = self._client.register_script(PUBLISH)
        sent, cpu, begin = 0, time.process_time(), time.perf_counter()
        while sent < len(ready) and (now := time.perf_counter() - begin) < seconds:
            some = ready[sent : min(int(now * self._rate), sent + PORTION)]
            if some:
                await publish(args=[self._forged.channel, *some])
            sent += len(some)
            await asyncio.sleep(TICK)
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return Figures(sent / took, cpu / max(1, sent) * 1e6)
