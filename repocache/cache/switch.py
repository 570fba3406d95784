"""Which tiers of one owner's cache answer in this process: chosen while it runs, asked on every
read."""

from __future__ import annotations

from enum import Enum


class CacheMode(Enum):
    """How reads by id are answered. Writes invalidate in every mode, so that any may follow any
    other.

    `ON`: L1, Redis, then the database. `SHARED`: without L1. `OFF`: the database alone, coalesced
    as ever; nothing is filled. `SHADOW`: the cache is read and filled as if it were on, the
    database answers, and where they differ it is counted (`Database.shadow`).
    """

    ON = "on"
    SHARED = "shared"
    OFF = "off"
    SHADOW = "shadow"


class Gate:
    """Whether L1 is read. An object of its own, so that the hit in L1 asks one attribute and
    nothing else."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = True


class Switch:
    """One owner's mode, as the read path asks for it.

    `callers`: for those who ask L1 first and are content. `tier`: for the read path itself, whoever
    is answered. `shared`: Redis is read and filled.
    """

    __slots__ = ("callers", "mode", "shared", "tier")

    def __init__(self, mode: CacheMode) -> None:
        self.callers = Gate()
        self.tier = Gate()
        self.turn(mode)

    def turn(self, mode: CacheMode) -> None:
        """From the next read on."""
        self.mode = mode
        self.shared = mode is not CacheMode.OFF
        self.tier.open = mode in (CacheMode.ON, CacheMode.SHADOW)
        self.callers.open = mode is CacheMode.ON
