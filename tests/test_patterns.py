"""What the benchmark of all patterns makes of what its processes note, without servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks._patterns import picture
from benchmarks._patterns.contestants import PATTERNS, PLAIN
from benchmarks._patterns.process import Reads, Writes
from benchmarks._patterns.results import HEAD, lines, outcome
from benchmarks._patterns.staleness import Staleness, pooled, replaced_at, staleness

WRITTEN = {7: [(3, 10.0), (4, 20.0)]}


@pytest.mark.parametrize(
    "number, replaced", [(1, 10.0), (2, 10.0), (3, 20.0), (4, None), (5, None)]
)
def test_a_number_is_replaced_by_the_next_one(number: int, replaced: float | None) -> None:
    assert replaced_at(WRITTEN[7], number) == replaced


def test_a_read_is_stale_that_began_after_what_it_shows_was_replaced() -> None:
    shown = [(7, 9.0, 2), (7, 10.5, 2), (7, 10.5, 3), (7, 21.0, 3), (7, 21.0, 4), (8, 30.0, 0)]
    found = staleness(shown, WRITTEN)
    assert (found.reads, found.ages) == (6, (0.5, 1.0))
    assert found.share == pytest.approx(1 / 3)
    assert (found.quantile(0.5), found.quantile(0.99)) == (1.0, 1.0)


def test_what_is_rare_is_counted_over_all_rounds() -> None:
    every = pooled([Staleness(100, ()), Staleness(100, (0.1, 0.2))])
    assert (every.share, every.ages) == (0.01, (0.1, 0.2))
    assert pooled([Staleness(0, ())]).share == 0.0


def test_the_table_has_a_line_for_each_pattern(tmp_path: Path) -> None:
    reads = Reads([(7, 21.0, 3)] * 4, [0.001, 0.002, 0.003, 0.004], 1)
    writes = Writes([(7, 4, 20.0), (7, 3, 10.0)], [0.004, 0.006], 50.0)
    rounds = {name: [outcome(reads, writes)] * 3 for name in PATTERNS}
    table = lines(rounds)
    assert len(table) == len(HEAD) + len(PATTERNS)
    assert {line.count("|") for line in table} == {HEAD[0].count("|")}
    assert "| 12 of 12 | 1000.0 ms |" in table[len(HEAD)]
    assert "1.00x" in table[-1]
    assert "75%" in table[-1]
    pytest.importorskip("matplotlib")
    picture.draw(rounds, tmp_path / "patterns.svg")
    drawn = (tmp_path / "patterns.svg").read_text()
    assert all(name in drawn for name in PATTERNS if name != PLAIN)
