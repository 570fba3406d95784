"""What a poll of a replica is worth: whose history its position belongs to, and how far behind it is."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.db.positions import (
    LagLimit,
    PrimaryIdentity,
    PrimaryView,
    Process,
    Receiver,
    ReplicaReading,
    Sample,
    System,
    Trail,
    cluster_of,
    judge,
    ran_ahead,
)

IDENTITY = PrimaryIdentity(System("42", 5), 1, 1000, 10)
LIMIT = LagLimit(10.0, None)
LIFE = Process(7, 1)
READING = ReplicaReading(
    in_recovery=True,
    position=100,
    system=System("42", 5),
    process=LIFE,
    receiver=Receiver(LIFE, 70),
    streaming=True,
    timeline=1,
    timeline_seen=True,
    began=50.0,
    ended=50.1,
)


def view(*trail: tuple[int, float], lost: bool = False, insert: int = 100, began: float = 50.0) -> PrimaryView:
    known = Trail()
    for position, moment in trail or ((100, 50.0),):
        known.add(position, moment)
    return PrimaryView(IDENTITY, IDENTITY.history, known, insert, began, lost)


def judged(reading: ReplicaReading, primary: PrimaryView, before: Sample | None = None) -> Sample:
    return judge(reading, before, primary, "", LIMIT)


@pytest.mark.parametrize(
    "other",
    [
        IDENTITY._replace(system=System("43", 5)),
        IDENTITY._replace(timeline=2),
        IDENTITY._replace(started=1001),
        IDENTITY._replace(recovered=11),
    ],
    ids=["system", "timeline", "restart, or another server of the same timeline", "crash that the postmaster survived"],
)
def test_whatever_may_lose_commits_makes_another_history(other: PrimaryIdentity) -> None:
    assert other.history != IDENTITY.history
    assert cluster_of(IDENTITY.history) == "42"


def test_a_streaming_replica_vouches_for_what_it_has_replayed() -> None:
    sample = judged(READING, view())
    assert (sample.history, sample.position, sample.out, sample.lag, sample.lag_bytes) == (
        IDENTITY.history,
        100,
        "",
        0.0,
        0,
    )


@pytest.mark.parametrize(
    "reading, out",
    [
        (replace(READING, in_recovery=False), "refused"),
        (replace(READING, system=System("43", 5)), "refused"),
        (replace(READING, system=System("42", 6)), "refused"),
        (replace(READING, timeline=2), "other history"),
        (replace(READING, receiver=None), "not streaming"),
        (replace(READING, streaming=False), "not streaming"),
    ],
)
def test_a_position_of_no_known_history_vouches_for_nothing(reading: ReplicaReading, out: str) -> None:
    sample = judged(reading, view())
    assert (sample.history, sample.position, sample.out, sample.fresh_at) == ("", 0, out, -math.inf)


@pytest.mark.parametrize("following", ["unconfirmed", "other history"])
def test_a_receiver_that_may_follow_another_server_is_not_believed(following: str) -> None:
    sample = judge(READING, None, view(), following, LIMIT)
    assert (sample.out, sample.position, sample.history) == (following, 0, "")


class TestWithoutStream:
    before = judged(READING, view())
    cut = replace(READING, receiver=None, position=120)

    def test_it_vouches_for_what_it_had_replayed_while_streaming(self) -> None:
        sample = judged(self.cut, view(), self.before)
        assert (sample.history, sample.position, sample.out) == (IDENTITY.history, 100, "not streaming")

    def test_that_is_no_bound_of_what_it_shows_once_it_has_replayed_more(self) -> None:
        assert not judged(self.cut, view(), self.before).exact
        assert judged(replace(self.cut, position=100), view(), self.before).exact
        assert judged(READING, view()).exact

    @pytest.mark.parametrize("process", [Process(8, 1), Process(7, 2)], ids=["restarted", "recovered from a crash"])
    def test_another_life_of_the_server_vouches_for_nothing(self, process: Process) -> None:
        assert judged(replace(self.cut, process=process), view(), self.before).position == 0

    def test_another_history_vouches_for_nothing(self) -> None:
        assert judged(self.cut, view(), replace(self.before, history="43.1.x")).position == 0

    def test_it_serves_on_while_the_primary_is_lost(self) -> None:
        sample = judged(self.cut, view(lost=True), self.before)
        assert (sample.position, sample.out) == (100, "")


class TestWithoutPrimary:
    before = judged(READING, view())

    @pytest.mark.parametrize("timeline", [1, 2])
    def test_reads_that_need_no_position_go_on(self, timeline: int) -> None:
        sample = judged(replace(READING, timeline=timeline), view(lost=True))
        assert (sample.out, sample.history, sample.position) == ("", "", 0)

    def test_no_position_is_believed_that_was_not_before(self) -> None:
        sample = judged(replace(READING, position=200), view(lost=True), self.before)
        assert (sample.out, sample.history, sample.position) == ("", IDENTITY.history, 100)


def test_a_replica_that_is_none_is_out_even_then() -> None:
    assert judged(replace(READING, in_recovery=False), view(lost=True)).out == "refused"


class TestLag:
    def test_it_is_the_age_of_the_newest_position_reached(self) -> None:
        sample = judged(READING, view((90, 41.0), (100, 42.0), (110, 43.0), (500, 50.0)))
        assert sample.lag == pytest.approx(8.1)
        assert (sample.lag_bytes, sample.fresh_at, sample.out) == (400, 42.0, "")

    def test_an_idle_primary_does_not_look_like_it(self) -> None:
        sample = judged(READING, view(*((100, float(second)) for second in range(50))))
        assert (sample.lag, sample.out, sample.fresh_at) == (0.0, "", 49.0)

    def test_beyond_the_limit_it_takes_the_replica_out(self) -> None:
        assert judged(READING, view((100, 39.0), (110, 50.0))).out == "lagging"

    def test_bytes_take_it_out_too(self) -> None:
        assert judge(READING, None, view((100, 49.0), (201, 50.0)), "", LagLimit(10.0, 100)).out == "lagging"
        assert judge(READING, None, view((100, 49.0), (200, 50.0)), "", LagLimit(10.0, 100)).out == ""

    def test_unknown_is_too_much(self) -> None:
        sample = judged(READING, view((101, 49.0), (110, 50.0)))
        assert (sample.out, sample.fresh_at) == ("lagging", -math.inf)
        assert sample.lag == pytest.approx(1.1)

    def test_without_a_primary_to_measure_by_nobody_is_taken_out(self) -> None:
        assert judged(READING, view((100, 39.0), (110, 40.0), lost=True), judged(READING, view())).out == ""


@pytest.mark.parametrize(
    "insert, began, ahead",
    [(99, 50.1, True), (99, 50.0, False), (100, 50.1, False)],
    ids=["it has what the primary has not", "the primary was asked before", "it has what the primary has"],
)
def test_a_replica_ahead_of_the_primary_follows_another(insert: int, began: float, ahead: bool) -> None:
    assert ran_ahead(judged(READING, view()), view(insert=insert, began=began)) is ahead


@given(st.lists(st.integers(0, 3), max_size=3000), st.integers(0, 10_000))
def test_the_trail_never_claims_more_than_was_reached(steps: list[int], reached: int) -> None:
    trail, position, written = Trail(), 0, []
    for moment, step in enumerate(steps):
        position += step
        trail.add(position, float(moment))
        written.append(position)
    fresh_at = trail.fresh_at(reached)
    if fresh_at != -math.inf:
        assert written[int(fresh_at)] <= reached
        assert all(later > reached for later in written[int(fresh_at) + 1 :])
    elif len(set(written)) < 1024:
        assert all(each > reached for each in written)
