"""Under which line of WAL a commit is published whose connection knows of a newer one than its
process."""

from __future__ import annotations

from typing import Any

import pytest

from repocache.nodes.lineage import Lineage
from repocache.nodes.wal import PrimaryPosition
from repocache.publication.publisher import CommitPublisher, Lives
from repocache.records import NO_POSITIONS
from repocache.transactions.transaction import Transaction

HERE, NEWER = "7.1.abc", "7.2."


class Primary:
    """What the process believes."""

    def __init__(self, history: str) -> None:
        self.lineage = Lineage()
        self.lineage.history = history


@pytest.mark.parametrize(
    "line, history, polled, expected",
    [
        (HERE, HERE, PrimaryPosition(HERE, 5, 6), (HERE, 5)),
        (HERE, HERE, None, (HERE, None)),
        ("", HERE, PrimaryPosition(HERE, 5, 6), (HERE, 5)),
        ("", "", None, ("", NO_POSITIONS)),
        (NEWER, HERE, PrimaryPosition(HERE, 5, 6), (NEWER, None)),
        (NEWER, HERE, None, (NEWER, None)),
        (NEWER, HERE, PrimaryPosition("7.2.abc", 5, 6), ("7.2.abc", 5)),
        (HERE, "7.2.abc", PrimaryPosition("7.2.abc", 5, 6), ("7.2.abc", 5)),
    ],
)
def test_a_commit_is_of_the_line_that_its_connection_writes(
    line: str, history: str, polled: PrimaryPosition | None, expected: tuple[str, int | None]
) -> None:
    """1. A process stays with an old primary; 2. a new connection of it leads to the new one, where
    a commit is made;
    3. its position is polled on the old one: under that line the records would be filled from the
       old primary again."""
    nobody: Any = None
    primary: Any = Primary(history)
    commits = CommitPublisher(
        bus=nobody,
        tags=nobody,
        retry=nobody,
        views=nobody,
        primary=primary,
        lives=Lives(60.0, 60.0, lambda: 0.0),
        outbox=nobody,
        write_through=nobody,
        in_front=(),
        spawn=nobody,
        observe=nobody,
    )
    changes: Any = None
    transaction = Transaction(changes)
    transaction.line, transaction.synchronous = line, True
    assert commits._position(transaction, polled) == expected
