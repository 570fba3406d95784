"""What has become of one owner's reads and entries in this process, as whole numbers: who measures
asks for them now and then, so that a hit in L1 costs one addition and no event."""

from __future__ import annotations

FIRST_TOLD = 64
"""Hits of an owner before one is told of."""


class OwnerCount:
    """Since the process began. `hits`, `misses`: of L1. `stored`, `evicted`, `expired`,
    `invalidated`: entries of L1. `joined`: callers who waited for a load that another had begun.
    `waited`: loads that waited for another process's lease.

    Of the hits that are told of: `told`: how many there were at the last, `due`: at the next."""

    __slots__ = (
        "due",
        "evicted",
        "expired",
        "hits",
        "invalidated",
        "joined",
        "misses",
        "stored",
        "told",
        "waited",
    )

    def __init__(self) -> None:
        self.hits = self.misses = 0
        self.stored = self.evicted = self.expired = self.invalidated = 0
        self.joined = self.waited = 0
        self.told, self.due = 0, FIRST_TOLD
