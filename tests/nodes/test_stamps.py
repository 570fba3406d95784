"""What a read of the primary can have shown."""

from __future__ import annotations

import pytest

from repocache.nodes.stamps import Stamp, shown_by_primary
from repocache.nodes.wal import PrimaryPosition

OLD, NEW = "7.5.a", "7.6."
POLLED = PrimaryPosition(OLD, flush=90, insert=100)


@pytest.mark.parametrize(
    "line, polled, stamp",
    [
        (OLD, POLLED, Stamp(OLD, 100, primary=True)),
        ("", POLLED, Stamp(OLD, 100, primary=True)),
        ("7.4.a", POLLED, Stamp(OLD, 100, primary=True)),
        (NEW, POLLED, Stamp(NEW, None, primary=False)),
        (NEW, None, Stamp(NEW, None, primary=False)),
        ("", None, Stamp(OLD, None, primary=False)),
    ],
)
def test_a_newer_line_than_was_polled_is_not_known_but_by_name(
    line: str, polled: PrimaryPosition | None, stamp: Stamp
) -> None:
    assert shown_by_primary(line, OLD, polled) == stamp
