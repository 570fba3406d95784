"""What the answer of a select may be: of each row what some version says that is new enough.

Owns the way from an answer to what it says of each key. Which versions there are, and what counts
where one was lost, is `oracle`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from proof.simulation.columns import PAGE, Asked
from proof.simulation.oracle import Oracle, text_of
from proof.simulation.server import Key


def judge(
    oracle: Oracle, who: str, asked: Asked, rows: Sequence[Sequence[Any]], needs: Mapping[Key, int]
) -> None:
    """`rows`: ids with versions, ids alone, or one count. `needs`: the version of each of the
    owner's rows that the answer must not be older than."""
    if asked.kind == "count":
        return _judge_count(oracle, who, asked, rows[0][0], needs)
    found = {row[0]: row[1] if len(row) > 1 else None for row in rows}
    full = asked.kind == "page" and len(found) == PAGE
    for key, need in needs.items():
        _, id = key
        if id not in found:
            if not (full and id > max(found)) and oracle.lacks(key, need, _fits(asked, id, False)):
                oracle.blame(f"{who}: {asked} has no {text_of(key)}, which has {need}")
        elif found[id] is not None:
            oracle.served(f"{who}: {asked}", key, found[id], need)
        elif oracle.lacks(key, need, _fits(asked, id, True)):
            oracle.blame(f"{who}: {asked} has {text_of(key)} still, which has {need}")


def _judge_count(
    oracle: Oracle, who: str, asked: Asked, count: int, needs: Mapping[Key, int]
) -> None:
    def lacking(present: bool) -> int:
        """Rows that cannot be so."""
        return sum(
            oracle.lacks(key, need, _fits(asked, key[1], present)) for key, need in needs.items()
        )

    least, most = lacking(False), len(needs) - lacking(True)
    if not least <= count <= most:
        oracle.blame(f"{who}: {asked} counts {count}, of {least} to {most} since {needs}")


def _fits(asked: Asked, id: int, present: bool) -> partial[bool]:
    return partial(_is_so, asked, id, present)


def _is_so(asked: Asked, id: int, present: bool, version: int, there: bool) -> bool:
    return (there and asked.matches(id, version)) is present
