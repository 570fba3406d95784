"""Every bucket that a batch touches is reached, now or as soon as Redis answers again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import msgspec
import pytest

from repocache.background.tasks import Grace, Tasks
from repocache.errors import CacheUnavailable
from repocache.events import Event, Published, PublishFailed
from repocache.invalidation import bus as module
from repocache.invalidation.batch import NOTHING, Batch
from repocache.invalidation.bus import Bus, PublishRetry
from repocache.keys import bucket_of
from repocache.records import NO_POSITIONS, CallerHistory, Change, MemoryRecords, Nonces, Receipt
from repocache.records.message import Message


class Records(MemoryRecords):
    """Records that are away while `away`, lose the answers of `lost` buckets, and answer nothing
    while `silent`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.sent: list[tuple[Change, CallerHistory]] = []
        self.away = False
        self.silent = False
        self.lost: set[int] = set()
        super().__init__(self.messages.append, Nonces(), lambda: 0.0, 100)

    def change(self, change: Change, terms: CallerHistory) -> Awaitable[Receipt]:
        self.sent.append((change, terms))
        if self.away:
            raise CacheUnavailable("away")
        if self.silent:
            return asyncio.get_running_loop().create_future()
        answer = super().change(change, terms)
        return self._lose() if change.bucket in self.lost else answer

    async def _lose(self) -> Receipt:
        raise CacheUnavailable("lost")

    @property
    def told(self) -> set[str]:
        return {text for message in self.messages for text in message.keys}


def batch(ids: Iterable[int], *owners: str) -> Batch:
    return Batch({"user": frozenset(f"user:{id}" for id in ids)}, frozenset(owners))


SOME = batch(range(1, 20))
BUCKETS = {bucket_of(f"user:{id}") for id in range(1, 20)}


def never(history: str) -> None:
    raise AssertionError(f"{history} is of no newer timeline")


async def lives_in(records: Records, history: str, id: int = 1) -> int:
    """The bucket of a user whose record is of this history."""
    bucket = bucket_of(f"user:{id}")
    await records.change(Change(bucket, (), (), NO_POSITIONS), CallerHistory(history))
    records.sent.clear()
    return bucket


def told_by(events: list[Event]) -> Published:
    """The one event, whatever the time that it took."""
    [event] = events
    assert isinstance(event, Published)
    assert event.seconds > 0
    return msgspec.structs.replace(event, seconds=0.0)


async def test_each_bucket_gets_its_keys_and_its_receipt() -> None:
    records, events = Records(), list[Event]()
    receipts = await Bus(records, 5.0, events.append, never).publish(SOME, "h1", 50)
    assert {receipt.bucket for receipt in receipts} == BUCKETS
    assert records.told == SOME.keys["user"]
    assert told_by(events) == Published(19, len(BUCKETS), 50)
    states = {
        message.bucket: (message.incarnation, message.seq)
        for message in records.messages
        if message.keys
    }
    assert {receipt.bucket: (receipt.incarnation, receipt.seq) for receipt in receipts} == states


async def test_all_are_sent_before_the_first_answers() -> None:
    records = Records()
    records.silent = True
    publishing = asyncio.create_task(Bus(records, 60.0, print, never).publish(SOME, "h1", 50))
    await asyncio.sleep(0)
    assert len(records.sent) == len(BUCKETS)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing


@pytest.mark.parametrize("position, told", [(50, 50), (None, None), (NO_POSITIONS, None)])
async def test_a_position_is_told_if_there_is_one(position: int | None, told: int | None) -> None:
    events: list[Event] = []
    await Bus(Records(), 5.0, events.append, never).publish(SOME, "h1", position)
    assert told_by(events) == Published(19, len(BUCKETS), told)


async def test_a_record_of_another_history_gives_way_and_no_other_is_asked_twice() -> None:
    records = Records()
    foreign = await lives_in(records, "h0")
    receipts = await Bus(records, 5.0, print, never).publish(SOME, "h1", 50)
    assert sorted(receipt.bucket for receipt in receipts) == sorted(BUCKETS)
    assert all(not receipt.history for receipt in receipts)
    assert [change.bucket for change, terms in records.sent if terms.confirmed] == [foreign]
    assert records.told == SOME.keys["user"]


@pytest.mark.parametrize("older", ["s.1.a", "s.2.a", "t.9.a", "garbage"])
async def test_one_that_is_no_newer_timeline_gives_way(older: str) -> None:
    records = Records()
    foreign = await lives_in(records, older)
    await Bus(records, 5.0, print, never).publish(SOME, "s.2.b", 50)
    assert [change.bucket for change, terms in records.sent if terms.confirmed] == [foreign]


async def test_one_of_a_newer_timeline_does_not() -> None:
    """1. The primary fails over, and its old server lives on; 2. others live with the new one, and
    fill records; 3. a commit here is one of the old server's: it is lost, and says nothing of
    theirs."""
    records, met, events = Records(), list[str](), list[Event]()
    newer = await lives_in(records, "s.2.b")
    before = records.told
    with pytest.raises(CacheUnavailable, match="newer timeline"):
        await Bus(records, 5.0, events.append, met.append).publish(batch([1]), "s.1.a", 50)
    assert met == ["s.2.b"]
    assert records.told == before
    assert not [change for change, terms in records.sent if terms.confirmed]
    assert events == []
    [receipt] = await Bus(records, 5.0, print, never).publish(batch([1]), "s.2.b", 50)
    assert (receipt.bucket, records.told) == (newer, {"user:1"})


async def test_what_could_not_be_published_there_is_once_the_new_primary_is_found() -> None:
    async with running() as late:
        await lives_in(late.records, "s.2.b")
        late.polled = [("s.1.a", 70), ("s.2.b", 90)]
        late.undelivered.add(SOME)
        await until(lambda: late.of(Published))
        assert late.met == ["s.2.b"]
        assert late.records.told == SOME.keys["user"]
        assert [event.keys for event in late.events if isinstance(event, PublishFailed)] == [19]
        told = {text: change.position for change, _ in late.records.sent for _, text in change.keys}
        assert set(told.values()) == {90}


@pytest.mark.parametrize("how", ["away", "lost"])
async def test_a_redis_that_is_away_is_the_callers_to_know(how: str) -> None:
    records, events = Records(), list[Event]()
    if how == "away":
        records.away = True
    else:
        records.lost = {bucket_of("user:1")}
    with pytest.raises(CacheUnavailable):
        await Bus(records, 5.0, events.append, never).publish(SOME, "h1", 50)
    assert events == []


async def test_the_deadline_is_of_the_whole_batch() -> None:
    records = Records()
    records.silent = True
    with pytest.raises(CacheUnavailable, match=r"not published within 0\.01 s"):
        await Bus(records, 0.01, print, never).publish(SOME, "h1", 50)


class Late:
    """What waits for Redis, and the primary that says where it stands."""

    def __init__(self) -> None:
        self.records = Records()
        self.events: list[Event] = []
        self.polled: list[tuple[str, int | None] | None] = []
        self.during: Callable[[], None] = lambda: None
        self.met: list[str] = []
        bus = Bus(self.records, 5.0, self.events.append, self.met.append)
        self.undelivered = PublishRetry(bus, self._position, self.events.append, None)

    async def _position(self) -> tuple[str, int | None] | None:
        self.during()
        return self.polled.pop(0) if self.polled else ("h1", 70)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def running() -> AsyncIterator[Late]:
    late = Late()
    async with Tasks(Grace(0.0), late.events.append) as tasks:
        tasks.spawn(late.undelivered.run())
        yield late


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0)


async def test_what_is_added_is_delivered_behind_a_position_of_after() -> None:
    async with running() as late:
        late.undelivered.add(SOME)
        assert len(late.undelivered) == 19
        await until(lambda: late.of(Published))
        assert late.records.told == SOME.keys["user"]
        assert {change.position for change, _ in late.records.sent} == {70}
        assert len(late.undelivered) == 0


async def test_what_comes_during_a_delivery_is_delivered_behind_a_later_position() -> None:
    """A position from before it was added would not cover it."""
    async with running() as late:
        late.polled = [("h1", 70), ("h1", 80)]
        late.during = lambda: late.undelivered.add(batch([99])) if len(late.polled) == 2 else None
        late.undelivered.add(batch([1]))
        await until(lambda: len(late.of(Published)) == 2)
        told = {text: change.position for change, _ in late.records.sent for _, text in change.keys}
        assert told == {"user:1": 70, "user:99": 80}


async def test_it_is_tried_again_until_it_is_delivered() -> None:
    async with running() as late:
        late.records.away = True
        late.undelivered.add(SOME)
        await until(lambda: late.of(PublishFailed))
        assert late.of(PublishFailed)[0] == PublishFailed(19, "away")
        assert len(late.undelivered) == 19
        late.records.away = False
        await until(lambda: late.of(Published))
        assert late.records.told == SOME.keys["user"]


async def test_what_comes_while_redis_is_away_is_delivered_too() -> None:
    async with running() as late:
        late.records.away = True
        late.undelivered.add(batch([1]))
        await until(lambda: late.of(PublishFailed))
        late.undelivered.add(batch([2], "order"))
        await until(lambda: len(late.of(PublishFailed)) > 1)
        assert late.of(PublishFailed)[-1] == PublishFailed(3, "away")
        late.records.away = False
        late.undelivered.wake()
        await until(lambda: late.of(Published))
        assert late.records.told == {"user:1", "user:2"}
        assert any("order" in message.generations for message in late.records.messages)


async def test_without_the_primarys_position_nothing_is_published() -> None:
    async with running() as late:
        late.polled = [None]
        late.undelivered.add(SOME)
        await until(lambda: late.of(PublishFailed))
        assert late.records.sent == []
        assert len(late.undelivered) == 19
        late.undelivered.wake()
        await until(lambda: late.of(Published))


async def test_what_comes_during_a_delivery_that_fails_is_kept_with_it() -> None:
    async with running() as late:
        late.polled = [None]
        late.during = lambda: late.undelivered.add(batch([99])) if late.polled else None
        late.undelivered.add(batch([1]))
        await until(lambda: late.of(Published))
        assert late.records.told == {"user:1", "user:99"}


async def test_a_wake_with_nothing_to_do_asks_nobody() -> None:
    async with running() as late:
        late.polled = [("h1", 70)]
        late.undelivered.wake()
        late.undelivered.add(NOTHING)
        for _ in range(20):
            await asyncio.sleep(0)
        assert (late.polled, late.events) == ([("h1", 70)], [])


async def test_one_that_is_cancelled_loses_nothing() -> None:
    late = Late()
    late.records.silent = True
    task = asyncio.create_task(late.undelivered.run())
    late.undelivered.add(SOME)
    await until(lambda: late.records.sent)
    assert len(late.undelivered) == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(late.undelivered) == 19


def test_more_keys_than_are_kept_become_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEYS", 10)
    late = Late()
    late.undelivered.add(batch(range(10)))
    assert len(late.undelivered) == 10
    late.undelivered.add(Batch({"order": frozenset({"order:1:2"})}, frozenset({"document"})))
    assert late.undelivered._waiting == Batch({}, frozenset({"user", "order", "document"}))
