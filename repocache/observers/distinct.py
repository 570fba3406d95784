"""How many different keys there are, about, in 2 KB: a HyperLogLog (Flajolet and others, 2007)."""

from __future__ import annotations

import math

PRECISION = 11
"""Bits of a hash that choose a register."""
REGISTERS = 1 << PRECISION
ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)
"""Of the paper, for 128 registers and more. The error is 1.04 over the root of their number: 2.3 %
in two of three cases."""
RANK_BITS = 64 - PRECISION


class Distinct:
    """Of hashes that are spread evenly over 64 bits, as Python's of texts."""

    __slots__ = ("_registers",)

    def __init__(self) -> None:
        self._registers = bytearray(REGISTERS)

    def add(self, key: str) -> None:
        """It was met."""
        hashed = hash(key) & 0xFFFF_FFFF_FFFF_FFFF
        at, rest = hashed & (REGISTERS - 1), hashed >> PRECISION
        rank = RANK_BITS - rest.bit_length() + 1
        self._registers[at] = max(self._registers[at], rank)

    @property
    def count(self) -> int:
        """About how many."""
        registers = self._registers
        empty = registers.count(0)
        if empty == REGISTERS:
            return 0
        estimate = ALPHA * REGISTERS**2 / sum(2.0**-rank for rank in registers)
        if estimate <= 2.5 * REGISTERS and empty:
            estimate = REGISTERS * math.log(REGISTERS / empty)
        return round(estimate)


class DistinctKeys:
    """Of one owner, in a window that moves on: what was met in the present one, and in the one
    before. `seconds`: of a window; `now`: monotonic seconds."""

    __slots__ = ("_before", "_ends", "_present", "_seconds")

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._ends = now + seconds
        self._before = 0
        self._present = Distinct()

    def add(self, key: str) -> None:
        self._present.add(key)

    def count(self, now: float) -> int:
        """The larger of both: a window that has just begun has met few."""
        if now >= self._ends:
            late = now - self._ends >= self._seconds
            self._before = 0 if late else self._present.count
            self._present = Distinct()
            self._ends = now + self._seconds
        return max(self._before, self._present.count)
