"""What a process believes of the buckets, and what leaves L1 for it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.bookmark import Bookmark, Seen
from repocache.cache.belief import At, Before, BucketView, Doubt
from repocache.cache.bucket_views import BucketViews
from repocache.cache.entry import CachedRow
from repocache.cache.inflight import InflightLoad, InflightLoads
from repocache.cache.local_store import LocalStore
from repocache.cache.shelf import LocalKey
from repocache.events import GapSeen, Invalidated
from repocache.keys import KeySpace, bucket_of, owner_bucket
from repocache.records.message import WIRE_VERSION, Message
from tests.cache.one_process import ORDERS, USERS, neighbours
from tests.cache.one_process import Seen as Events

A, B, C = neighbours(3)
BUCKET = bucket_of(USERS.text(A))
OWN = owner_bucket("user")
ELSEWHERE = next(id for id in range(1, 99) if bucket_of(USERS.text(id)) != BUCKET)


@dataclass
class Local:
    """L1 and the flights of a process, and the views that they follow."""

    views: BucketViews
    store: LocalStore
    flights: InflightLoads
    events: Events

    def keep(self, *ids: int) -> None:
        for id in ids:
            self.store.put(("user", id), CachedRow((id,)), bucket_of(USERS.text(id)), 60.0, 1)

    @property
    def kept(self) -> set[int]:
        return set(self.store.shelf("user").entries)

    def fly(self, id: int) -> InflightLoad:
        text = USERS.text(id)
        flight = InflightLoad(("user", id), text, bucket_of(text), owner_bucket("user"), None)
        self.flights.begin(flight)
        return flight


def local() -> Local:
    store, flights, events = LocalStore(100, 100_000, time.monotonic), InflightLoads(), Events()
    views = BucketViews(store, flights, KeySpace([USERS, ORDERS]), "me", events)
    views.up()
    return Local(views, store, flights, events)


def at(incarnation: str, seq: int) -> At:
    """Where a record is, with the one tip that it has there."""
    return At(incarnation, seq, f"{incarnation}{seq}")


def message(
    seq: int,
    *ids: int,
    incarnation: str = "i",
    origin: str = "other",
    own: At | None = None,
    tip: str | None = None,
) -> Message:
    """Of a bucket. `own`: the state of the users' own record that it tells of. `tip`: a forged
    one."""
    return Message(
        version=WIRE_VERSION,
        bucket=BUCKET,
        incarnation=incarnation,
        seq=seq,
        history="h",
        origin=origin,
        keys=tuple(map(USERS.text, ids)),
        owners={} if own is None else {"user": own},
        tip=at(incarnation, seq).tip if tip is None else tip,
        before=at(incarnation, seq - 1).tip,
    )


def whole(seq: int, generation: str = "", incarnation: str = "o") -> Message:
    """Of the users' own record: all of them changed, or it was made."""
    generations = {"user": generation} if generation else {}
    tip, before = at(incarnation, seq).tip, at(incarnation, seq - 1).tip
    return Message(
        WIRE_VERSION, OWN, incarnation, seq, "h", generations=generations, tip=tip, before=before
    )


def begun(seq: int = 0) -> Local:
    """One that was told the record's state, with three users of the bucket and one of another in
    L1."""
    process = local()
    adopt(process, process.views.before(BUCKET), seq)
    process.keep(A, B, C, ELSEWHERE)
    return process


def view(process: Local) -> BucketView:
    found = process.views.get(BUCKET)
    assert found is not None
    return found


def test_the_next_in_line_drops_what_it_names() -> None:
    process = begun()
    flights = process.fly(A), process.fly(B)
    process.views.apply(message(1, A))
    assert process.kept == {B, C, ELSEWHERE}
    assert [flight.invalidated for flight in flights] == [True, False]
    assert process.events == [Invalidated(BUCKET, (USERS.text(A),), mine=False)]
    assert view(process).at == at("i", 1)
    assert view(process).told == 0, "anybody may have published it"


def test_ones_own_is_told_as_such() -> None:
    process = begun()
    process.views.apply(message(1, A, origin="me"))
    assert process.events == [Invalidated(BUCKET, (USERS.text(A),), mine=True)]


def test_the_last_one_again_drops_what_it_names() -> None:
    process = begun(5)
    process.views.apply(message(5, A))
    assert process.kept == {B, C, ELSEWHERE}
    assert view(process).at == at("i", 5)


@pytest.mark.parametrize(
    "heard, why",
    [
        (message(7, A), "messages were lost"),
        (message(4, A), "messages were lost"),
        (message(5, A, tip="forged"), "messages were lost"),
        (message(2**62, A), "messages were lost"),
        (message(6, A, incarnation="j"), "a new record"),
        (message(0, incarnation="j"), "a new record"),
    ],
    ids=["ahead", "behind", "another of its number", "far ahead", "another record", "made anew"],
)
def test_a_gap_drops_the_bucket_and_no_other(heard: Message, why: str) -> None:
    process = begun(5)
    flights = process.fly(B), process.fly(ELSEWHERE)
    process.views.apply(heard)
    assert process.kept == {ELSEWHERE}
    assert [flight.invalidated for flight in flights] == [True, False]
    assert process.events[0] == GapSeen(BUCKET, why)
    assert process.views.get(BUCKET) is None, "until it is asked"


def test_a_message_whose_predecessor_is_another_is_a_gap() -> None:
    """1. One is lost; 2. a forged one takes its place; 3. the one after it comes."""
    process = begun(5)
    process.views.apply(message(6, tip="forged"))
    assert process.kept == {A, B, C, ELSEWHERE}
    process.views.apply(message(7, A))
    assert process.kept == {ELSEWHERE}
    assert process.views.get(BUCKET) is None


def test_the_first_message_of_a_bucket_is_no_gap_and_is_not_believed() -> None:
    process = local()
    process.keep(A, B)
    process.views.apply(message(7, A))
    assert process.events.of(GapSeen) == []
    assert process.kept == {B}
    assert process.views.get(BUCKET) is None


def own_view(process: Local) -> BucketView:
    found = process.views.get(OWN)
    assert found is not None
    return found


def with_names(process: Local) -> Local:
    """It reads users by name, and has an order in L1, in the same bucket."""
    adopt_own(process, process.views.before(OWN), 0)
    view(process).prefixes |= {"user": "old", "order": "stays"}
    process.store.put(("order", 1), CachedRow((1,)), BUCKET, 60.0, 1)
    process.events.clear()
    return process


def assert_owner_cleared(process: Local) -> None:
    assert process.kept == set()
    assert ("order", 1) in process.store
    assert view(process).prefixes == {"order": "stays"}


def test_a_change_of_a_whole_owner_drops_all_its_keys_and_names_and_no_others() -> None:
    process = with_names(begun())
    flights = process.fly(B), process.fly(ELSEWHERE)
    process.views.apply(whole(1, "g2"))
    assert_owner_cleared(process)
    assert all(flight.invalidated for flight in flights)
    assert own_view(process).generations == {}, "only an answer tells it"
    assert process.events == [Invalidated(OWN, (), mine=False)]


@pytest.mark.parametrize(
    "heard, why",
    [(whole(2), "messages were lost"), (whole(1, incarnation="p"), "a new record")],
    ids=["gap", "new"],
)
def test_a_gap_of_an_owners_record_drops_all_its_keys_and_names(heard: Message, why: str) -> None:
    process = with_names(begun())
    process.views.apply(heard)
    assert_owner_cleared(process)
    assert process.events == [GapSeen(OWN, why)]
    assert process.views.get(OWN) is None


@pytest.mark.parametrize(
    "own, why",
    [
        (at("o", 1), "messages were lost"),
        (at("p", 0), "a new record"),
        (At("o", 0, "another"), "messages were lost"),
    ],
    ids=["further", "another record", "another change"],
)
def test_a_keys_message_tells_of_a_change_of_its_owner_that_was_not_heard(
    own: At, why: str
) -> None:
    process = with_names(begun())
    process.views.apply(message(1, A, own=own))
    assert_owner_cleared(process)
    assert GapSeen(OWN, why) in process.events
    assert process.views.get(OWN) is None


def test_a_keys_message_that_tells_nothing_new_of_its_owner_drops_the_key_alone() -> None:
    process = with_names(begun())
    process.views.apply(message(1, A, own=at("o", 0)))
    assert process.kept == {B, C, ELSEWHERE}
    assert own_view(process).generations == {"user": "g1"}
    stranger = {"stranger": ("x", 9, "x9")}
    process.views.apply(
        Message(WIRE_VERSION, BUCKET, "i", 2, "h", owners=stranger, tip="i2", before="i1")
    )
    assert process.kept == {B, C, ELSEWHERE}


@pytest.mark.parametrize("text", ["stranger:7", "user:x", "user", "", "user:7:8"])
def test_keys_of_others_are_passed_over(text: str) -> None:
    process = begun()
    keys = (text, USERS.text(A))
    process.views.apply(
        Message(WIRE_VERSION, BUCKET, "i", 1, "h", keys=keys, tip="i1", before="i0")
    )
    assert process.kept == {B, C, ELSEWHERE}
    assert view(process).heard == 1


logs = st.lists(st.sets(st.sampled_from([A, B, C]), max_size=2), min_size=1, max_size=8)


@given(logs, st.data())
def test_what_is_lost_twice_or_late_keeps_nothing_in_l1_that_was_invalidated(
    log: list[set[int]], data: st.DataObject
) -> None:
    """Whatever of the record's messages is heard, and forged ones between them: behind each that
    was, nothing is left that it or one before named."""
    process = begun()
    invalidated: set[int] = set()
    heard = 0
    steps = st.tuples(st.booleans(), st.integers(1, len(log)))
    for forged, seq in data.draw(st.lists(steps, max_size=12)):
        if forged:
            process.views.apply(message(seq, tip="forged"))
            continue
        process.views.apply(message(seq, *log[seq - 1]))
        heard = max(heard, seq)
        invalidated = set().union(*log[:heard])
        assert not process.kept & invalidated
    assert ELSEWHERE in process.kept
    known = process.views.get(BUCKET)
    assert known is None or known.told == 0


def adopt(process: Local, asked: Before, seq: int, incarnation: str = "i") -> BucketView | None:
    return process.views.adopt(BUCKET, asked, at(incarnation, seq))


def adopt_own(process: Local, asked: Before, seq: int, generation: str = "g1") -> BucketView | None:
    return process.views.adopt_generation(OWN, "user", asked, at("o", seq), generation)


def test_an_answer_where_nothing_was_known_is_believed() -> None:
    process = local()
    adopted = adopt(process, process.views.before(BUCKET), 3)
    assert adopted is not None
    assert adopted is process.views.get(BUCKET)
    assert (adopted.at, adopted.told) == (at("i", 3), 3)
    own = adopt_own(process, process.views.before(OWN), 5)
    assert own is process.views.get(OWN)
    assert own is not None
    assert (own.at, own.told, own.generations) == (at("o", 5), 5, {"user": "g1"})


def test_an_answer_older_than_what_was_heard_meanwhile_is_not_believed() -> None:
    """1. sent; 2. answered; 3. a message in the same read; 4. applied; 5. the answer, from before
    it."""
    process = local()
    asked = process.views.before(BUCKET)
    process.views.apply(message(0, incarnation="j"))
    assert adopt(process, asked, 3) is None
    assert process.views.get(BUCKET) is None


def test_an_answer_that_is_all_that_was_heard_meanwhile_is_believed() -> None:
    """The script makes the record, announces it, and answers."""
    process = local()
    asked = process.views.before(BUCKET)
    process.views.apply(message(0, incarnation="j"))
    adopted = adopt(process, asked, 0, incarnation="j")
    assert adopted is view(process)
    process = local()
    asked = process.views.before(BUCKET)
    for seq in (5, 6):
        process.views.apply(message(seq))
    assert adopt(process, asked, 6) is view(process)


def test_one_that_is_not_all_is_not_though_it_was_published_last() -> None:
    """1. It answers; 2. it is made anew; 3. somebody publishes once more where it was; 4. the
    caller runs."""
    process = local()
    asked = process.views.before(BUCKET)
    process.views.apply(message(0, incarnation="j"))
    process.views.apply(message(3))
    assert adopt(process, asked, 3) is None
    assert adopt(process, process.views.before(BUCKET), 0, incarnation="j") is view(process)


def test_doubts_are_no_chain() -> None:
    process = local()
    for seq in range(0, 100, 2):
        process.views.apply(message(seq))
    doubt = process.views.before(BUCKET).belief
    assert isinstance(doubt, Doubt)
    assert isinstance(doubt.prior, Doubt)
    assert doubt.prior.prior is None


def test_an_answer_of_the_record_that_is_known_is_believed_and_its_state_is_not_set_back() -> None:
    process = begun(4)
    asked = process.views.before(BUCKET)
    process.views.apply(message(5))
    adopted = adopt(process, asked, 4)
    assert adopted is view(process)
    assert (adopted.heard, adopted.told) == (5, 4)
    assert process.kept == {A, B, C, ELSEWHERE}


def test_an_answer_that_knows_of_less_than_what_was_heard_before_tells_of_a_forgery() -> None:
    process = begun(4)
    process.views.apply(message(5, tip="forged"))
    adopted = adopt(process, process.views.before(BUCKET), 4)
    assert adopted is view(process)
    assert (adopted.at, adopted.told) == (at("i", 4), 4)
    assert process.kept == {ELSEWHERE}
    assert GapSeen(BUCKET, "a message was not the record's") in process.events


def test_so_does_one_of_its_number_with_another_tip() -> None:
    """1. A message is lost; 2. a forged one takes its place; 3. the record is asked."""
    process = begun(4)
    process.views.apply(message(5, tip="forged"))
    adopted = adopt(process, process.views.before(BUCKET), 5)
    assert adopted is view(process)
    assert (adopted.at, adopted.told) == (at("i", 5), 5)
    assert process.kept == {ELSEWHERE}


def test_an_answer_tells_how_far_what_was_heard_is_so() -> None:
    process = begun(4)
    process.views.apply(message(5, A))
    assert not process.views.covers((BUCKET, OWN), bookmark({BUCKET: Seen("i", 5)}))
    adopt(process, process.views.before(BUCKET), 5)
    assert process.kept == {B, C, ELSEWHERE}
    assert process.views.covers((BUCKET, OWN), bookmark({BUCKET: Seen("i", 5)}))


@pytest.mark.parametrize("tip, told", [(None, 5), ("forged", 4)])
def test_so_does_the_receipt_of_an_own_change(tip: str | None, told: int) -> None:
    process = begun(4)
    process.views.apply(message(5, A, tip=tip))
    process.views.confirm(BUCKET, at("i", 5))
    assert view(process).told == told


def test_an_answer_ahead_of_what_was_heard_is_a_gap() -> None:
    process = begun(5)
    flight = process.fly(B)
    adopted = adopt(process, process.views.before(BUCKET), 6)
    assert adopted is view(process)
    assert adopted.told == 6
    assert process.kept == {ELSEWHERE}
    assert flight.invalidated
    assert process.events == [GapSeen(BUCKET, "messages were lost")]


def test_an_answer_of_a_record_made_anew_drops_the_bucket() -> None:
    process = begun(5)
    adopted = adopt(process, process.views.before(BUCKET), 0, incarnation="j")
    assert adopted is view(process)
    assert adopted.at == at("j", 0)
    assert process.kept == {ELSEWHERE}
    assert process.events == [GapSeen(BUCKET, "a new record")]


def test_a_generation_that_moved_unheard_drops_all_keys_and_names() -> None:
    process = with_names(begun())
    adopted = adopt_own(process, process.views.before(OWN), 0, "g2")
    assert adopted is own_view(process)
    assert_owner_cleared(process)
    assert adopted.generations == {"user": "g2"}


def test_a_generation_from_before_the_last_message_is_not_believed() -> None:
    process = with_names(begun())
    asked = process.views.before(OWN)
    process.views.apply(whole(1, "g2"))
    assert adopt_own(process, asked, 0, "g1") is None
    assert own_view(process).generations == {}


def test_an_answer_from_before_the_view_began_is_not_believed_though_its_generation_is_known() -> (
    None
):
    """1. A is answered; 2. its message is lost; 3. the answer for B makes the view; 4. A's caller
    runs."""
    process = local()
    asked = process.views.before(BUCKET)
    adopted = adopt(process, asked, 6)
    assert adopted is not None
    assert adopt(process, asked, 5) is None
    assert adopt(process, asked, 6) is adopted


def bookmark(wrote: dict[int, Seen] | None, *, covered: bool = True) -> Bookmark:
    return Bookmark("h", 1, wrote, covered, 1e12)


@pytest.mark.parametrize(
    "given, covered",
    [
        (bookmark({}), True),
        (bookmark({BUCKET + 1: Seen("x", 9)}), True),
        (bookmark({BUCKET: Seen("i", 5)}), True),
        (bookmark({BUCKET: Seen("i", 4)}), True),
        (bookmark({BUCKET: Seen("i", 6)}), False),
        (bookmark({BUCKET: Seen("j", 1)}), False),
        (bookmark(None), False),
        (bookmark({}, covered=False), False),
    ],
)
def test_l1_counts_where_the_view_is_not_older_than_what_was_written(
    given: Bookmark, covered: bool
) -> None:
    assert begun(5).views.covers((BUCKET, OWN), given) == covered


@pytest.mark.parametrize(
    "seen, covered", [(Seen("o", 0), True), (Seen("o", 1), False), (Seen("p", 0), False)]
)
def test_nor_where_that_of_the_owner_is_older(seen: Seen, covered: bool) -> None:
    assert with_names(begun(5)).views.covers((BUCKET, OWN), bookmark({OWN: seen})) == covered


def test_without_a_view_l1_counts_for_nobody_who_wrote_there() -> None:
    assert not local().views.covers((BUCKET, OWN), bookmark({BUCKET: Seen("i", 0)}))
    assert not local().views.covers((BUCKET, OWN), bookmark({OWN: Seen("o", 0)}))


@pytest.mark.parametrize("what", ["up", "down", "forget_all"])
def test_what_may_have_missed_something_begins_empty(what: str) -> None:
    process = begun()
    flights = process.fly(A), process.fly(ELSEWHERE)
    getattr(process.views, what)()
    assert process.kept == set()
    assert process.views.get(BUCKET) is None
    assert all(flight.invalidated for flight in flights)
    assert process.views.alive == (what != "down")


def test_it_is_not_alive_before_the_channel_is_up() -> None:
    assert not BucketViews(
        LocalStore(1, 1, time.monotonic), InflightLoads(), KeySpace([]), "me", print
    ).alive


def test_an_own_commit_leaves_l1_and_the_flights() -> None:
    process = begun()
    flights = process.fly(A), process.fly(B)
    process.views.wrote([USERS.text(A), USERS.text(ELSEWHERE), "stranger:1"], [])
    assert process.kept == {B, C}
    assert [flight.invalidated for flight in flights] == [True, False]
    process.store.put(("order", 1), CachedRow((1,)), BUCKET, 60.0, 1)
    process.views.wrote([], ["user"])
    assert [each.key for each in process.store.entries()] == [("order", 1)]
    assert all(flight.invalidated for flight in flights)


def test_the_keys_of_composite_ids_are_dropped_too() -> None:
    process = begun()
    key: LocalKey = ("order", (1, 2))
    text = ORDERS.text((1, 2))
    process.store.put(key, CachedRow((1, 2)), bucket_of(text), 60.0, 1)
    process.views.wrote([text], [])
    assert key not in process.store


def test_an_answer_from_before_a_gap_tells_no_generation() -> None:
    """The message that was lost may have moved it."""
    process = begun()
    adopt_own(process, process.views.before(OWN), 3)
    asked = process.views.before(OWN)
    process.views.apply(whole(5))  # 4 moved the generation, and never came
    assert adopt_own(process, asked, 3, "old") is None
    own = adopt_own(process, process.views.before(OWN), 5, "new")
    assert own is not None
    assert own.generations == {"user": "new"}
