"""What a feed makes of messages: nothing of its owner is lost without a word."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from repocache import Changed, ChangedAll, KeyOwner
from repocache.background.home import Home
from repocache.invalidation.channel import Receiver
from repocache.invalidation.feed import Audience, Feed
from repocache.keys import Keys
from repocache.records.message import WIRE_VERSION, Message
from repocache.routing.routing import ANYWHERE, need_of

KEYS = Keys(KeyOwner("user"), (int,))
NOW = 1_000.0


def at_now() -> float:
    return NOW


async def opened(
    room: int = 100, clock: Callable[[], float] = at_now, history: Callable[[], str] = lambda: "h"
) -> Feed[int]:
    receivers: MutableSequence[Receiver] = []
    home = Home()
    home.enter()
    feed: Feed[int] = Feed(
        KEYS, Audience(receivers, home, history), room=room, window=60.0, clock=clock
    )
    await feed.__aenter__()
    assert [type(await anext(feed))] == [ChangedAll]
    assert receivers == [feed]
    return feed


def message(
    seq: int, *keys: str, incarnation: str = "a", history: str = "h", **more: Any
) -> Message:
    chain = {"tip": f"{incarnation}{seq}", "before": f"{incarnation}{seq - 1}"}
    return Message(
        WIRE_VERSION, 3, incarnation, seq, history, keys=keys, **{"floor": "10", **chain, **more}
    )


def waiting(feed: Feed[int]) -> list[tuple[int, ...] | str]:
    return [each.why if isinstance(each, ChangedAll) else each.ids for each in feed._waiting]


async def test_a_message_is_its_ids_behind_a_bookmark() -> None:
    feed = await opened()
    feed.apply(message(5, "user:7", "order:1:2", "user:8", "users:9"))
    change = await anext(feed)
    assert isinstance(change, Changed)
    assert change.ids == (7, 8)
    assert (change.bookmark.history, change.bookmark.position, change.bookmark.covered) == (
        "h",
        16,
        True,
    )
    assert change.bookmark.wrote == {3: ("a", 5)}


async def test_what_is_of_others_is_silent() -> None:
    feed = await opened()
    feed.apply(message(5, "order:1:2"))
    feed.apply(message(6, generations={"order": "g"}))
    feed.apply(message(7))
    assert waiting(feed) == []


async def test_a_hole_is_a_gap_and_the_first_message_of_a_bucket_is_none() -> None:
    feed = await opened()
    feed.apply(message(5, "user:7"))
    feed.apply(message(6, "user:8"))
    assert waiting(feed) == [(7,), (8,)]
    feed.apply(message(8, "user:9"))
    feed.apply(message(9, "user:9"))
    assert waiting(feed) == ["gap", (9,)]


async def test_a_record_made_anew_begins_at_its_beginning() -> None:
    feed = await opened()
    feed.apply(message(5, "user:7"))
    feed.apply(message(0, incarnation="b"))
    feed.apply(message(1, "user:8", incarnation="b"))
    assert waiting(feed) == [(7,), (8,)]
    feed.apply(message(1, "user:9", incarnation="c"))
    assert waiting(feed) == ["gap"]


async def test_another_history_is_everything_until_this_process_has_found_it() -> None:
    lines = ["h"]
    feed = await opened(history=lambda: lines[0])
    feed.apply(message(5, "user:7"))
    feed.apply(message(0, incarnation="b", history="i"))
    feed.apply(message(1, "user:8", incarnation="b", history="i"))
    assert waiting(feed) == ["history"]
    lines[0] = "i"
    feed.new_history()
    feed.apply(message(2, "user:8", incarnation="b", history="i"))
    assert waiting(feed) == ["history", (8,)]


async def test_what_somebody_publishes_between_is_a_gap() -> None:
    """1. A forged message with the next number; 2. that of a write, whose ids were not told."""
    feed = await opened()
    feed.apply(message(5, "user:7"))
    feed.apply(message(6, tip="forged"))
    feed.apply(message(6, "user:8"))
    assert waiting(feed) == ["gap"]


async def test_so_it_is_in_the_place_of_one_that_was_lost() -> None:
    feed = await opened()
    feed.apply(message(5, "user:7"))
    feed.apply(message(6, tip="forged"))
    feed.apply(message(7, "user:9"))
    assert waiting(feed) == ["gap"]


async def test_a_message_that_is_published_again_says_nothing() -> None:
    feed = await opened()
    for _ in range(3):
        feed.apply(message(5, "user:7"))
    assert waiting(feed) == [(7,)]


async def test_nobody_lets_a_replica_answer_that_is_behind_what_was_told() -> None:
    """1. A write is told, and read; 2. somebody tells it again, with an earlier position."""
    feed = await opened()
    feed.apply(message(5, "user:7", floor="20"))
    feed.apply(message(6, "user:7", tip="forged", floor="1"))
    assert [(await anext(feed)).bookmark.position for _ in range(2)] == [32, 32]


async def test_so_is_a_new_history_of_this_process() -> None:
    """1. The primary fails over, and loses a commit; 2. a message of the new history comes, and the
    consumer rebuilds;
    3. this process has not noticed yet, and answers with the lost commit; 4. it notices, and no
       message comes."""
    lines = ["h"]
    feed = await opened(history=lambda: lines[0])
    feed.apply(message(5, "user:7"))
    feed.apply(message(0, incarnation="b", history="i"))
    assert [type(await anext(feed))] == [ChangedAll]
    lines[0] = "i"
    feed.new_history()
    assert waiting(feed) == ["history"]
    feed.apply(message(1, "user:8", incarnation="b", history="i"))
    assert waiting(feed) == ["history", (8,)]


async def test_nothing_of_a_cache_counts_for_who_rebuilds() -> None:
    """What was missed may be of any bucket, and no cache is known to have heard of it."""
    for tell in (Feed.up, Feed.forget_all, Feed.new_history):
        feed = await opened()
        tell(feed)
        change = await anext(feed)
        assert isinstance(change, ChangedAll)
        assert not change.bookmark.takes_cached
        assert change.bookmark.covered, "it counts for the window, not for the longest ttl"
        assert change.bookmark.position is None
        assert need_of(0, change.bookmark, "h", ANYWHERE).primary


async def test_a_bookmarks_life_begins_when_it_is_handed_over() -> None:
    """1. A change comes; 2. its consumer is busy with others for longer than a bookmark lives; 3.
    he reads behind it, and a replica of the rotation may still lag."""
    times = [NOW]
    feed = await opened(clock=lambda: times[0])
    feed.apply(message(5, "user:7"))
    feed.forget_all()
    feed.apply(message(6, "user:8"))
    for wait in (0.0, 500.0):
        times[0] += wait
        mark = (await anext(feed)).bookmark
        assert (mark.made, mark.expires) == (times[0], times[0] + 60.0)


async def test_keys_that_cannot_be_read_are_a_gap() -> None:
    feed = await opened()
    feed.apply(message(5, "user:7", "user:x"))
    assert waiting(feed) == ["gap"]


async def test_after_a_new_connection_sequences_begin_anywhere() -> None:
    feed = await opened()
    feed.apply(message(5, "user:7"))
    feed.down()
    feed.up()
    feed.apply(message(50, "user:8"))
    assert waiting(feed) == ["connected", (8,)]


async def test_a_slow_reader_costs_no_room() -> None:
    feed = await opened(room=3)
    for seq in range(1, 100):
        feed.apply(message(seq, f"user:{seq}"))
        assert len(feed._waiting) <= 3
    assert waiting(feed)[0] == "overflow"


STEPS = st.sampled_from(["heard", "lost", "renewed", "connected", "unreadable", "history"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 5)), max_size=30))
async def test_whoever_follows_it_knows_all_changes(steps: list[tuple[str, int]]) -> None:
    """Messages are lost only between two of a record that are heard: the server loses none without
    the connection."""
    feed = await opened(room=4)
    seq, incarnation, written = 0, 0, {9}
    feed.apply(message(0, incarnation="0"))
    for step, id in steps:
        if step == "connected":
            feed.up()
            feed.apply(message(seq := seq + 1, incarnation=str(incarnation)))
        elif step == "unreadable":
            feed.forget_all()
        elif step == "history":
            written |= set(range(9))
            feed.new_history()
        elif step == "renewed":
            feed.apply(message(seq + 1, incarnation=str(incarnation)))
            seq, incarnation = 0, incarnation + 1
            feed.apply(message(0, incarnation=str(incarnation)))
        else:
            seq += 1
            written.add(id)
            if step == "heard":
                feed.apply(message(seq, f"user:{id}", incarnation=str(incarnation)))
    feed.apply(message(seq + 1, "user:9", incarnation=str(incarnation)))
    told: set[int] = set()
    for each in feed._waiting:
        told |= set(range(10)) if isinstance(each, ChangedAll) else set(each.ids)
    assert written <= told
