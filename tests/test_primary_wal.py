"""What is asked about the primary: an answer is believed, and no answer is none."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy.exc import DBAPIError

from repocache.errors import DatabaseUnavailable
from repocache.nodes.lineage import Lineage
from repocache.nodes.selection import ReadRequirement
from repocache.nodes.topology import Topology
from repocache.nodes.wal import PrimaryPosition
from repocache.records import NO_POSITIONS
from repocache.runtime.primary_wal import PrimaryWal


class Refusal(Exception):
    """What a driver raises."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Answers:
    """A topology that is told what it says."""

    def __init__(self, answer: object) -> None:
        self.lineage = Lineage()
        self.lineage.history = "s.1.a"
        self.answer = answer
        self.needs: list[ReadRequirement] = []
        self.heard: list[str] = []

    async def read(self, need: ReadRequirement, run: Any) -> Any:
        self.needs.append(need)
        if isinstance(self.answer, Exception):
            raise self.answer
        return type("Read", (), {"value": self.answer})

    async def position(self) -> PrimaryPosition | None:
        assert self.answer is None or isinstance(self.answer, PrimaryPosition)
        return self.answer

    def met(self, history: str) -> None:
        self.heard.append(history)


def over(answers: Answers) -> PrimaryWal:
    return PrimaryWal(cast("Topology", answers))


def refused(sqlstate: str) -> DBAPIError:
    return DBAPIError("SELECT", None, Refusal(sqlstate))


class TestInProgress:
    @pytest.mark.parametrize("answer", [True, False])
    async def test_the_primary_says_so(self, answer: bool) -> None:
        answers = Answers(answer)
        assert await over(answers).in_progress("77") is answer
        assert answers.needs == [ReadRequirement(primary="asked", asked=True)]

    async def test_one_that_it_has_not_given_out_yet_is_of_another_history(self) -> None:
        assert not await over(Answers(refused("22023"))).in_progress("77")

    @pytest.mark.parametrize(
        "failure",
        [
            refused("57014"),
            refused("42501"),
            refused("57P01"),
            refused("22003"),
            DatabaseUnavailable("nobody answers"),
            RuntimeError("why"),
            TimeoutError(),
        ],
        ids=[
            "cancelled",
            "not permitted",
            "shutting down",
            "out of range",
            "away",
            "a bug",
            "late",
        ],
    )
    async def test_any_other_failure_is_no_answer(self, failure: Exception) -> None:
        """1. A transaction is about to commit; 2. a reader, whose statement is cancelled, takes
        that for "it has ended"; 3. he fills what is there; 4. it commits."""
        with pytest.raises(DatabaseUnavailable):
            await over(Answers(failure)).in_progress("77")


def test_the_histories_of_others_are_the_primarys_to_judge() -> None:
    answers = Answers(None)
    over(answers).met("s.2.b")
    assert answers.heard == ["s.2.b"]


async def test_what_is_published_late_is_covered_by_what_the_primary_has_inserted() -> None:
    at = PrimaryPosition("s.1.a", flush=50, insert=60)
    assert await over(Answers(at)).covering_position() == ("s.1.a", 60)
    assert await over(Answers(None)).covering_position() is None
    assert await over(Answers(at)).committed_position() == at


async def test_a_database_without_positions_has_none_to_cover_it() -> None:
    answers = Answers(None)
    answers.lineage.history = ""
    assert await over(answers).covering_position() == ("", NO_POSITIONS)
