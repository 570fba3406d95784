"""`local_bytes` bounds what L1 takes of the process's memory, whatever is kept in it."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from repocache.cache.entry import CachedRow, Row
from repocache.cache.local_store import LocalStore

MOST = 1_000_000
COUNT = 2_000

IDS: dict[str, Callable[[int], Any]] = {
    "int": lambda n: n + 10**9,
    "text": lambda n: f"user-{n:09}",
    "long text": lambda n: f"{n:09}" * 100,
    "bytes": lambda n: n.to_bytes(20, "big"),
    "composite": lambda n: (n + 10**9, f"part-{n:09}"),
}
ROWS: dict[str, Callable[[int], Row | None]] = {
    "no row": lambda n: None,
    "small": lambda n: (n + 10**9, f"name {n}"),
    "wide": lambda n: tuple(f"{n} {column}" for column in range(30)),
    "large": lambda n: (n, f"{n:09}" * 1000),
    "json": lambda n: (
        n,
        {"tags": [f"{n} {tag}" for tag in range(9)], "of": {f"key {n}": n + 0.5}},
    ),
    "empty lists": lambda n: (n, [[] for _ in range(300)]),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A view, of which each entry may have one."""

    row: Row | None
    more: tuple[int, ...]


def taken(
    id_of: Callable[[int], Any], row_of: Callable[[int], Row | None], *, shown: bool
) -> tuple[int, LocalStore]:
    """Bytes that a store of at most MOST takes, as the interpreter counts them."""
    gc.collect()
    tracemalloc.start()
    try:
        begun = tracemalloc.get_traced_memory()[0]
        store = LocalStore(COUNT, MOST, time.monotonic)
        for n in range(COUNT):
            cell = CachedRow(row_of(n))
            store.put(("user", id_of(n)), cell, n % 64, 60.0, cell.size)
            if shown:
                cell.shapes[Shown] = Shown(cell.row, ())
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - begun, store
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "id_of, row_of",
    [(id_of, ROWS["no row"]) for id_of in IDS.values()]
    + [(IDS["int"], row_of) for row_of in ROWS.values()],
    ids=[*IDS, *ROWS],
)
def test_a_full_store_takes_what_it_may(
    id_of: Callable[[int], Any], row_of: Callable[[int], Row | None]
) -> None:
    """Within a fifth above, and no less than two fifths: the room is not wasted."""
    used, store = taken(id_of, row_of, shown=False)
    assert store.stats.evicted > 0
    assert MOST * 0.4 < used < MOST * 1.2


def test_with_a_view_of_each_row_too() -> None:
    used, _ = taken(IDS["int"], ROWS["small"], shown=True)
    assert used < MOST * 1.4
