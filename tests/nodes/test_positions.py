"""What a poll of a replica is worth: whose history its position belongs to, and how far behind it
is."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.engines.server import Process, System
from repocache.history import cluster_of
from repocache.nodes.wal import (
    LagLimit,
    PrimaryIdentity,
    PrimaryView,
    ReplicaReading,
    Sample,
    Trail,
    WalReceiver,
    judge,
    ran_ahead,
)

IDENTITY = PrimaryIdentity(System("42", 5), 1, 1000, 10)
LIMIT = LagLimit(10.0, None)
LIFE = Process(7, 1)
READING = ReplicaReading(
    in_recovery=True,
    position=100,
    shown=100,
    system=System("42", 5),
    process=LIFE,
    receiver=WalReceiver(LIFE, 70),
    streaming=True,
    timeline=1,
    timeline_seen=True,
    began=50.0,
    ended=50.1,
)


def view(
    *trail: tuple[int, float], lost: bool = False, insert: int = 100, began: float = 50.0
) -> PrimaryView:
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
    ids=[
        "system",
        "timeline",
        "restart, or another server of the same timeline",
        "crash that the postmaster survived",
    ],
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
def test_a_position_of_no_known_history_vouches_for_nothing(
    reading: ReplicaReading, out: str
) -> None:
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
        assert (sample.history, sample.position, sample.out) == (
            IDENTITY.history,
            100,
            "not streaming",
        )

    def test_without_a_receiver_nothing_bounds_what_it_shows(self) -> None:
        """What it replays from an archive was never received."""
        cut = replace(self.cut, shown=None)
        assert judged(cut, view(), self.before).at_most is None
        assert judged(replace(cut, position=100), view(), self.before).at_most is None

    def test_that_is_no_bound_of_what_it_shows_once_it_has_got_more(self) -> None:
        """The receiver runs and is not known to stream, or the primary is lost: what came since may
        be of another line, of which the position that it vouches for says nothing."""
        for primary, reading in (
            (view(), replace(READING, streaming=False)),
            (view(lost=True), READING),
        ):
            assert judged(reading, primary, self.before).at_most == 100
            assert (
                judged(replace(reading, position=120, shown=120), primary, self.before).at_most
                is None
            )
            assert judged(replace(reading, shown=101), primary, self.before).at_most is None

    def test_who_could_not_say_before_cannot_say_later(self) -> None:
        before = judged(replace(READING, shown=None), view())
        assert (before.position, before.at_most) == (100, None)
        assert judged(READING, view(lost=True), before).at_most is None

    @pytest.mark.parametrize(
        "process", [Process(8, 1), Process(7, 2)], ids=["restarted", "recovered from a crash"]
    )
    def test_another_life_of_the_server_vouches_for_nothing(self, process: Process) -> None:
        assert judged(replace(self.cut, process=process), view(), self.before).position == 0

    def test_another_history_vouches_for_nothing(self) -> None:
        assert judged(self.cut, view(), replace(self.before, history="43.1.x")).position == 0

    def test_it_serves_on_while_the_primary_is_lost(self) -> None:
        sample = judged(self.cut, view(lost=True), self.before)
        assert (sample.position, sample.out) == (100, "")


class TestAtMost:
    """What it has replayed bounds what it shows from below only:

    1. it makes a commit visible; 2. it unlinks the files that the commit dropped; 3. only then it
    moves its replay position. What was received bounds it from above."""

    @pytest.mark.parametrize("shown, at_most", [(100, 100), (130, 130), (90, 100), (None, None)])
    def test_it_is_the_higher_of_what_was_replayed_and_received(
        self, shown: int | None, at_most: int | None
    ) -> None:
        assert judged(replace(READING, shown=shown), view()).at_most == at_most

    @pytest.mark.parametrize(
        "reading",
        [
            replace(READING, timeline=2),
            replace(READING, in_recovery=False),
            replace(READING, system=System("43", 5)),
        ],
    )
    def test_of_no_known_history_there_is_none(self, reading: ReplicaReading) -> None:
        assert judged(reading, view()).at_most is None

    @given(
        st.tuples(st.integers(0, 200), st.none() | st.integers(0, 200)),
        st.none() | st.tuples(st.integers(0, 200), st.none() | st.integers(0, 200)),
        st.tuples(
            st.booleans(), st.booleans(), st.sampled_from(["", "unconfirmed", "other history"])
        ),
    )
    def test_whatever_it_vouches_for_it_bounds_or_says_that_it_does_not(
        self,
        now: tuple[int, int | None],
        had: tuple[int, int | None] | None,
        how: tuple[bool, bool, str],
    ) -> None:
        """`now` and `had`: what it has replayed, and the most that it has shown by then."""
        lost, streaming, following = how
        before = judged(replace(READING, position=had[0], shown=had[1]), view()) if had else None
        reading = replace(READING, position=now[0], shown=now[1], streaming=streaming)
        sample = judge(reading, before, view(lost=lost), following, LIMIT)
        if sample.at_most is None:
            return
        assert sample.history
        assert sample.position <= sample.at_most
        assert now[1] is not None
        assert now[1] <= sample.at_most
        if lost or following or not streaming:
            assert before is not None
            assert before.at_most is not None
            assert sample.at_most <= before.at_most


class TestWithoutPrimary:
    before = judged(READING, view())

    def test_reads_that_need_no_position_go_on(self) -> None:
        sample = judged(READING, view(lost=True))
        assert (sample.out, sample.history, sample.position) == ("", "", 0)

    def test_so_they_do_where_a_replica_follows_another_primary_by_now(self) -> None:
        """It had what the lost one had; without a sample of before nothing tells that it did."""
        moved = replace(READING, timeline=2)
        assert judged(moved, view(lost=True), self.before).out == ""
        assert judged(moved, view(lost=True)).out == "lagging"

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
        assert (
            judge(READING, None, view((100, 49.0), (201, 50.0)), "", LagLimit(10.0, 100)).out
            == "lagging"
        )
        assert (
            judge(READING, None, view((100, 49.0), (200, 50.0)), "", LagLimit(10.0, 100)).out == ""
        )

    def test_unknown_is_too_much(self) -> None:
        sample = judged(READING, view((101, 49.0), (110, 50.0)))
        assert (sample.out, sample.fresh_at) == ("lagging", -math.inf)
        assert sample.lag == pytest.approx(1.1)

    lost = view((100, 30.0), (110, 31.0), (500, 45.0), lost=True, began=45.0)

    @pytest.mark.parametrize(
        "position, out", [(100, "lagging"), (110, "lagging"), (499, "lagging"), (500, "")]
    )
    def test_while_the_primary_is_lost_it_is_measured_by_what_that_had(
        self, position: int, out: str
    ) -> None:
        """At 45 it was last heard, and had 500. Who then lacked what it had at 31, and so was out,
        does not come back for the time that passes."""
        before = judged(
            replace(READING, position=position), view((100, 30.0), (110, 31.0), (500, 45.0))
        )
        for ended in (45.1, 50.0, 5_000.0):
            assert (
                judged(replace(READING, position=position, ended=ended), self.lost, before).out
                == out
            )

    def test_nor_does_anybody_leave_for_it(self) -> None:
        primary = view((100, 40.0), (110, 45.0), lost=True, began=45.0)
        for ended in (46.0, 5_000.0):
            sample = judged(replace(READING, ended=ended), primary, judged(READING, view()))
            assert (sample.out, sample.lag) == ("", 5.0)

    def test_who_catches_up_with_that_is_back(self) -> None:
        """What its own line says of it is enough for lag: no read builds on it."""
        assert judged(replace(READING, position=110), self.lost).out == "lagging"
        caught_up = judged(replace(READING, position=500), self.lost)
        assert (caught_up.out, caught_up.history, caught_up.position) == ("", "", 0)

    def test_bytes_keep_it_out_too(self) -> None:
        limit = LagLimit(100.0, 50)
        assert judge(replace(READING, position=440), None, self.lost, "", limit).out == "lagging"
        assert judge(replace(READING, position=460), None, self.lost, "", limit).out == ""

    def test_who_may_follow_another_is_out_whatever_its_position(self) -> None:
        for out, reading in (
            ("refused", replace(READING, in_recovery=False)),
            ("lagging", replace(READING, timeline=2)),
        ):
            assert judged(replace(reading, position=500), self.lost).out == out


@pytest.mark.parametrize(
    "insert, began, ahead",
    [(99, 50.1, True), (99, 50.0, False), (100, 50.1, False)],
    ids=[
        "it has what the primary has not",
        "the primary was asked before",
        "it has what the primary has",
    ],
)
def test_a_replica_ahead_of_the_primary_follows_another(
    insert: int, began: float, ahead: bool
) -> None:
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
