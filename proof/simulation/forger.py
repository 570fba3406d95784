"""Somebody who may PUBLISH, and has heard all that was published so far."""

from __future__ import annotations

from random import Random

from proof.simulation.redis import Redis
from repocache.keys import BUCKETS
from repocache.records.message import WIRE_VERSION, Message

FORGER = "forger"
"""The `origin` of what he publishes."""


def forge(redis: Redis, draw: Random) -> None:
    """One message: the next of a record, or one before or far ahead, of this or an earlier
    incarnation; of an owner's record with a generation that it has had, or made up; one that tells
    of an owner's record; or the last one again."""
    records = redis.records._records
    if not records:
        return
    bucket, record = draw.choice(list(records.items()))
    incarnation = (
        record.incarnation if draw.random() < 0.8 else draw.choice(sorted(redis.made[bucket]))
    )
    generations = {}
    if bucket >= BUCKETS and draw.random() < 0.5:
        names = [*redis.generations.get(bucket, ()), record.incarnation, "f" * 16]
        generations = {draw.choice(("item", "note")): draw.choice(names)}
    owners = {}
    if bucket < BUCKETS and draw.random() < 0.2:
        own, there = draw.choice(list(records.items()))
        if own >= BUCKETS:
            owners = {
                draw.choice(("item", "note")): (
                    there.incarnation,
                    there.seq + draw.choice((0, 1)),
                    there.tip,
                )
            }
    redis.publish(
        Message(
            version=WIRE_VERSION,
            bucket=bucket,
            incarnation=incarnation,
            seq=max(0, record.seq + draw.choice((1, 1, 1, 1, 2, 0, -1, 2**40))),
            history=record.history,
            origin=FORGER,
            generations=generations,
            owners=owners,
            tip=record.tip if draw.random() < 0.1 else f"{draw.getrandbits(64):016x}",
            before=record.tip,
        )
    )
