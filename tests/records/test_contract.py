"""What both fits of the records must do alike."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from repocache.keys import owner_bucket
from repocache.records import (
    NO_POSITIONS,
    SCRIPTS,
    CallerHistory,
    Change,
    Fill,
    Generation,
    Intent,
    Lease,
    LookReply,
    MemoryRecords,
    Namespace,
    Nonces,
    OpenReply,
    OpenRequest,
    Put,
    Receipt,
    Records,
    RedisRecords,
    WriteLease,
    Writing,
)
from repocache.records.authorship import Anybody
from repocache.records.message import Message, parse
from repocache.records.names import ABSENT, VALUE
from repocache.records.registering import MOST_REGISTERED
from repocache.records.scripts import MOST, MOST_VALUES
from repocache.redis_link import Address, Link, ServerFacts
from repocache.testing import Servers


@dataclass
class Fit:
    """`records` and what it announced; `prefix` names a key as the fit does."""

    records: Records
    namespace: Namespace
    messages: list[Message] = field(default_factory=list)


class Listener:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.facts: ServerFacts | None = None

    def up(self, facts: ServerFacts) -> None:
        self.facts = facts

    def down(self, reason: str) -> None:
        self.facts = None

    def push(self, channel: bytes, payload: bytes) -> None:
        message = parse(payload)
        assert message is not None, payload
        self.messages.append(message)

    def on_error(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture(params=["redis", "memory"])
async def fit(request: pytest.FixtureRequest) -> AsyncIterator[Fit]:
    nonces = Nonces()
    if request.param == "memory":
        messages: list[Message] = []
        yield Fit(
            MemoryRecords(messages.append, nonces, time.monotonic, 1000),
            Namespace("memory"),
            messages,
        )
        return
    servers: Servers = request.getfixturevalue("repocache_servers")
    listener = Listener()
    namespace = Namespace(f"test{nonces.process}")
    link = Link(
        Address.parse(servers.redis.url), listener, scripts=SCRIPTS, channels=(namespace.channel,)
    )
    async with link:
        assert listener.facts is not None
        server = str(listener.facts.identity)
        records = RedisRecords(
            link, namespace, nonces, Anybody(), SimpleNamespace(server=server), max_value=MAX_VALUE
        )
        yield Fit(records, namespace, listener.messages)


MAX_VALUE = 100_000
TERMS = CallerHistory("1/1/a")
OTHER = CallerHistory("1/2/b")
ASK = OpenRequest(17, owner_bucket("user"), "user", "f1", "user:42", 5.0)
OWN = owner_bucket("user")


def lease(opened: OpenReply, ask: OpenRequest = ASK) -> Lease:
    assert opened.kind == "lease"
    return Lease(ask, opened.incarnation, opened.generation, opened.nonce)


def change(position: int | None) -> Change:
    return Change(17, (("user", "user:42"),), (), position)


def whole(position: int | None) -> Change:
    """All users changed."""
    return Change(OWN, (), ("user",), position)


async def fill(
    fit: Fit, ask: OpenRequest = ASK, value: bytes = VALUE + b"old", terms: CallerHistory = TERMS
) -> Lease:
    held = lease(await fit.records.open(ask, terms), ask)
    assert await fit.records.fill(held, terms, value, 10.0)
    return held


async def test_a_missing_record_is_made_and_announced(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    assert opened.floor is None
    assert opened.owner.floor is None
    assert [(m.bucket, m.incarnation, m.seq, m.keys, m.history) for m in fit.messages] == [
        (17, opened.incarnation, 0, (), TERMS.history),
        (OWN, opened.owner.incarnation, 0, (), TERMS.history),
    ]


def key(number: int) -> OpenRequest:
    """In several buckets, some of them in one."""
    return ASK._replace(bucket=number % 7, text=f"user:{number}")


async def test_many_are_asked_and_filled_together_each_for_itself(fit: Fit) -> None:
    """More than one script takes: by number, by bytes, and values that do not come along."""
    asks = [key(number) for number in range(3 * MOST + 1)]
    [alone] = fit.records.open_all(asks[:1], TERMS)
    assert (await alone).kind == "lease"
    opened = [await each for each in fit.records.open_all(asks, TERMS)]
    assert [each.kind for each in opened] == ["wait", *["lease"] * (3 * MOST)]
    assert len({each.nonce for each in opened}) == len(asks)
    assert {each.owner.incarnation for each in opened} == {opened[0].owner.incarnation}
    records = {ask.bucket: each.incarnation for ask, each in zip(asks, opened, strict=True)}
    assert len(set(records.values())) == 7, "each record has a name of its own"

    def value(number: int) -> bytes:
        return VALUE + b"%d " % number * (1 + 40 * number)

    held = [
        Fill(lease(each, ask), value(number), 10.0)
        for number, (ask, each) in enumerate(zip(asks, opened, strict=True))
        if number
    ]
    assert sum(len(fill.value) for fill in held) > 2 * MOST_VALUES
    late = [Fill(fill.lease._replace(nonce="another"), VALUE, 1.0) for fill in held[:2]]
    landed = [await each for each in fit.records.fill_all([*late, *held], TERMS)]
    assert landed == [False, False, *[True] * len(held)]
    found = [await each for each in fit.records.open_all(asks[1:], TERMS)]
    assert [each.kind for each in found] == ["value"] * len(held)
    assert [each.value for each in found] == [fill.value for fill in held]
    foreign = [await each for each in fit.records.open_all(asks, OTHER)]
    assert {(each.kind, each.history) for each in foreign} == {("history", TERMS.history)}
    assert (list(fit.records.open_all([], TERMS)), list(fit.records.fill_all([], TERMS))) == (
        [],
        [],
    )


async def test_long_values_of_many_are_fetched_at_once(
    fit: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not one after the other, each when it is awaited."""
    if not isinstance(fit.records, RedisRecords):
        return
    asks = [key(number) for number in range(MOST)]
    for ask in asks:
        await fill(fit, ask, VALUE + b"x" * 2_000)
    fetched: list[str] = []
    get = fit.records.get

    def noted(name: str) -> Awaitable[bytes | None]:
        fetched.append(name)
        return get(name)

    monkeypatch.setattr(fit.records, "get", noted)
    first, *others = fit.records.open_all(asks, TERMS)
    assert len((await first).value) == 2_000 + len(VALUE)
    assert len(fetched) == MOST
    assert {(await each).kind for each in others} == {"value"}
    assert len(fetched) == MOST


async def test_a_filled_value_is_found_by_name_and_by_asking(fit: Fit) -> None:
    held = await fill(fit)
    name = fit.namespace.prefix(17, held.incarnation, held.generation, "f1") + "user:42"
    assert await fit.records.get(name) == VALUE + b"old"
    opened = await fit.records.open(ASK, TERMS)
    assert (opened.kind, opened.value) == ("value", VALUE + b"old")


async def test_the_second_asker_waits_for_the_first(fit: Fit) -> None:
    first = await fit.records.open(ASK, TERMS)
    second = await fit.records.open(ASK, TERMS)
    assert (first.kind, second.kind) == ("lease", "wait")
    assert 0 < second.wait <= 5.0


async def test_a_lease_that_was_invalidated_fills_nothing(fit: Fit) -> None:
    held = lease(await fit.records.open(ASK, TERMS))
    await fit.records.change(change(100), TERMS)
    assert not await fit.records.fill(held, TERMS, VALUE + b"old", 10.0)
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_a_voided_lease_does_not_fill_under_the_next_holders(fit: Fit) -> None:
    first = lease(await fit.records.open(ASK, TERMS))
    await fit.records.change(change(100), TERMS)
    second = lease(await fit.records.open(ASK, TERMS))
    assert not await fit.records.fill(first, TERMS, VALUE + b"old", 10.0)
    assert await fit.records.fill(second, TERMS, VALUE + b"new", 10.0)


async def test_a_lease_past_its_deadline_is_taken_over_and_fills_nothing(fit: Fit) -> None:
    short = ASK._replace(life=0.01)
    first = lease(await fit.records.open(short, TERMS))
    await asyncio.sleep(0.03)
    second = lease(await fit.records.open(ASK, TERMS))
    assert not await fit.records.fill(first, TERMS, VALUE + b"old", 10.0)
    assert await fit.records.fill(second, TERMS, VALUE + b"new", 10.0)


async def test_a_lease_given_back_is_there_for_the_next(fit: Fit) -> None:
    held = lease(await fit.records.open(ASK, TERMS))
    assert not await fit.records.fill(held, TERMS, b"", 1.0)
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_an_invalidation_reaches_the_keys_of_every_shape(fit: Fit) -> None:
    await fill(fit)
    await fill(fit, ASK._replace(fingerprint="f2"))
    await fit.records.change(change(100), TERMS)
    for fingerprint in ("f1", "f2"):
        assert (
            await fit.records.open(ASK._replace(fingerprint=fingerprint), TERMS)
        ).kind == "lease"


async def test_an_invalidation_is_announced_with_keys_floor_and_the_next_number(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.settle(17, TERMS, opened.incarnation, 50)
    receipt = await fit.records.change(change(0xABC), TERMS)
    assert (receipt.incarnation, receipt.seq) == (opened.incarnation, 1)
    message = fit.messages[-1]
    assert (message.seq, message.keys, message.position) == (1, ("user:42",), 0xABC)
    assert (message.before, message.tip) == (opened.tip, receipt.tip)
    assert message.owners == {
        "user": (opened.owner.incarnation, opened.owner.seq, opened.owner.tip)
    }


async def test_a_message_of_a_key_tells_how_far_its_owners_record_is(fit: Fit) -> None:
    """Whoever missed the owner's own message would go on reading by the old name, which nobody
    clears any more."""
    await fill(fit)
    moved = await fit.records.change(whole(50), TERMS)
    await fit.records.change(change(100), TERMS)
    assert fit.messages[-1].owners == {"user": (moved.incarnation, 1, moved.tip)}


async def test_a_change_of_keys_makes_a_missing_record_of_their_owner(fit: Fit) -> None:
    await fit.records.change(change(100), TERMS)
    made = next(message for message in fit.messages if message.bucket == OWN)
    assert fit.messages[-1].owners == {"user": (made.incarnation, 0, made.tip)}
    assert (await fit.records.open(ASK, TERMS)).owner.incarnation == made.incarnation


async def test_an_owner_that_changed_as_a_whole_gets_a_generation_never_used(fit: Fit) -> None:
    held = await fill(fit)
    await fit.records.change(whole(100), TERMS)
    opened = await fit.records.open(ASK, TERMS)
    assert opened.kind == "lease"
    assert opened.generation != held.generation
    message = fit.messages[-1]
    assert (message.bucket, message.generations) == (OWN, {"user": opened.generation})
    assert (opened.owner.incarnation, opened.owner.seq) == (message.incarnation, 1)
    assert opened.incarnation == held.incarnation
    assert not await fit.records.fill(held, TERMS, VALUE + b"old", 10.0)


async def test_a_fill_needs_the_floors_of_both_records(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    assert opened.needed is None
    await fit.records.settle(17, TERMS, opened.incarnation, 50)
    assert (await fit.records.open(ASK, TERMS)).needed is None
    await fit.records.settle(OWN, TERMS, opened.owner.incarnation, 70)
    assert (await fit.records.open(ASK, TERMS)).needed == 70
    await fit.records.change(change(90), TERMS)
    assert (await fit.records.open(ASK, TERMS)).needed == 90
    await fit.records.change(whole(95), TERMS)
    assert (await fit.records.open(ASK, TERMS)).needed == 95


async def test_an_owners_record_made_anew_puts_its_values_out_of_reach(fit: Fit) -> None:
    held = await fill(fit)
    await fit.records.change(whole(None), TERMS)
    opened = await fit.records.open(ASK, TERMS)
    assert (opened.kind, opened.owner.floor) == ("lease", None)
    assert opened.generation != held.generation
    assert not await fit.records.fill(held, TERMS, VALUE + b"old", 10.0)


async def test_an_unknown_floor_is_settled_by_the_higher_of_both(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.change(change(200), TERMS)
    assert (await fit.records.open(ASK, TERMS)).floor is None
    assert await fit.records.settle(17, TERMS, opened.incarnation, 150)
    assert (await fit.records.open(ASK, TERMS)).floor == 200
    assert not await fit.records.settle(17, TERMS, opened.incarnation, 400)


async def test_a_floor_is_not_settled_under_another_incarnation(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.change(change(None), TERMS)
    assert not await fit.records.settle(17, TERMS, opened.incarnation, 150)
    assert (await fit.records.open(ASK, TERMS)).floor is None


async def test_a_known_floor_only_rises(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.settle(17, TERMS, opened.incarnation, 1000)
    for position, floor in ((900, 1000), (2**62, 2**62), (2**62 - 1, 2**62)):
        await fit.records.change(change(position), TERMS)
        assert (await fit.records.open(ASK, TERMS)).floor == floor


async def test_an_unknown_position_makes_a_new_record_that_remembers(fit: Fit) -> None:
    held = await fill(fit)
    await fit.records.settle(17, TERMS, held.incarnation, 300)
    receipt = await fit.records.change(change(None), TERMS)
    assert receipt.incarnation != held.incarnation
    assert (fit.messages[-2].seq, fit.messages[-1].seq) == (0, 1)
    await fit.records.settle(17, TERMS, receipt.incarnation, 200)
    assert (await fit.records.open(ASK, TERMS)).floor == 300


async def test_without_positions_keys_go_and_the_record_stays(fit: Fit) -> None:
    terms = CallerHistory("")
    held = await fill(fit, terms=terms)
    receipt = await fit.records.change(change(NO_POSITIONS), terms)
    assert receipt.incarnation == held.incarnation
    opened = await fit.records.open(ASK, terms)
    assert (opened.kind, opened.floor) == ("lease", None)


async def test_a_record_of_another_history_gives_way_only_to_one_who_asked_the_primary(
    fit: Fit,
) -> None:
    held = await fill(fit)
    refused = await fit.records.open(ASK, OTHER)
    assert (refused.kind, refused.histories) == ("history", (TERMS.history, TERMS.history))
    receipt = await fit.records.change(change(5), OTHER)
    assert receipt.history == TERMS.history
    assert not await fit.records.fill(held, OTHER, VALUE + b"x", 1.0)
    opened = await fit.records.open(ASK, OTHER._replace(confirmed=True))
    assert opened.kind == "lease"
    assert opened.incarnation != held.incarnation
    assert opened.floor is None


async def test_a_negative_entry_is_a_value(fit: Fit) -> None:
    await fill(fit, value=ABSENT)
    opened = await fit.records.open(ASK, TERMS)
    assert (opened.kind, opened.value) == ("value", ABSENT)


async def test_a_value_that_could_not_be_read_gives_way(fit: Fit) -> None:
    await fill(fit)
    other = ASK._replace(refused=hashlib.sha1(b"something else").hexdigest())
    assert (await fit.records.open(other, TERMS)).kind == "value"
    refused = ASK._replace(refused=hashlib.sha1(VALUE + b"old").hexdigest())
    assert (await fit.records.open(refused, TERMS)).kind == "lease"


def put(
    opened: OpenReply, *, strict: bool = False, text: str = "user:42", fingerprint: str = "f1"
) -> Put:
    return Put(
        "user",
        text,
        fingerprint,
        opened.incarnation,
        opened.generation,
        VALUE + b"new",
        10.0,
        strict,
    )


async def known(fit: Fit, floor: int = 100) -> OpenReply:
    """The record with this floor."""
    opened = await fit.records.open(ASK, TERMS)
    assert await fit.records.settle(17, TERMS, opened.incarnation, floor)
    assert await fit.records.settle(OWN, TERMS, opened.owner.incarnation, floor)
    return opened


async def write(
    fit: Fit, order: int, *puts: Put, position: int | None = 200, nonce: str = ""
) -> Receipt:
    return await fit.records.change(
        change(position)._replace(writing=Writing(order, puts, nonce)), TERMS
    )


async def test_a_put_lands_over_a_lease_and_is_announced(fit: Fit) -> None:
    opened = await known(fit)
    receipt = await write(fit, 100, put(opened))
    assert receipt.landed == 1
    assert (await fit.records.open(ASK, TERMS)).value == VALUE + b"new"
    assert not await fit.records.fill(lease(opened), TERMS, VALUE + b"old", 10.0)
    assert (fit.messages[-1].keys, fit.messages[-1].position, fit.messages[-1].seq) == (
        ("user:42",),
        200,
        receipt.seq,
    )


async def test_a_put_that_comes_after_a_later_writers_does_not_land(fit: Fit) -> None:
    opened = await known(fit)
    assert (await write(fit, 150, put(opened), position=300)).landed == 1
    assert (await write(fit, 120, put(opened), position=290)).landed == 0
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_a_put_is_judged_by_the_floor_before_its_own_commit_raised_it(fit: Fit) -> None:
    opened = await known(fit, 100)
    assert (await write(fit, 101, put(opened), position=900)).landed == 1
    assert (await write(fit, 899, put(opened), position=950)).landed == 0


async def test_a_put_does_not_land_where_the_floor_is_unknown(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    assert (await write(fit, 100, put(opened))).landed == 0
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_a_put_does_not_land_in_another_record_than_was_seen(fit: Fit) -> None:
    opened = await known(fit)
    await fit.records.change(change(None), TERMS)
    renewed = await fit.records.open(ASK, TERMS)
    assert await fit.records.settle(17, TERMS, renewed.incarnation, 0)
    assert (await write(fit, 500, put(opened))).landed == 0
    assert (await write(fit, 500, put(renewed))).landed == 1


async def test_a_put_does_not_land_after_a_change_that_moved_only_the_generation(fit: Fit) -> None:
    opened = await known(fit)
    await fit.records.change(whole(50), TERMS)
    assert (await write(fit, 500, put(opened))).landed == 0
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_a_put_of_an_unknown_position_does_not_land(fit: Fit) -> None:
    opened = await known(fit)
    assert (await write(fit, 500, put(opened), position=None)).landed == 0


async def test_a_put_takes_the_other_shapes_away_and_makes_its_own_known(fit: Fit) -> None:
    opened = await known(fit)
    assert await fit.records.fill(lease(opened), TERMS, VALUE + b"old", 10.0)
    assert (await write(fit, 100, put(opened, fingerprint="f2"))).landed == 1
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"
    await fit.records.change(change(400), TERMS)
    assert (await fit.records.open(ASK._replace(fingerprint="f2"), TERMS)).kind == "lease"


async def test_a_late_put_deletes_what_was_there(fit: Fit) -> None:
    opened = await known(fit, 100)
    assert await fit.records.fill(lease(opened), TERMS, VALUE + b"old", 10.0)
    assert (await write(fit, 99, put(opened))).landed == 0
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


def intent(nonce: str, xid: str = "7", life: float = 5.0, owners: tuple[str, ...] = ()) -> Intent:
    if owners:
        return Intent(OWN, (), owners, (), nonce, xid, life)
    return Intent(17, (("user", "user:42"),), (), ("user",), nonce, xid, life)


async def test_a_write_lease_takes_values_and_leases_away_and_hides_the_key(fit: Fit) -> None:
    await fill(fit)
    other = ASK._replace(text="user:43")
    held = await fit.records.open(ASK._replace(fingerprint="f2"), TERMS)
    noted = await fit.records.intend(intent("a"), TERMS)
    assert noted.incarnation == held.incarnation
    assert noted.generations == {
        "user": Generation(held.generation, held.owner.incarnation, held.owner.seq, held.owner.tip)
    }
    opened = await fit.records.open(ASK, TERMS)
    assert (opened.kind, opened.overdue) == ("written", ())
    assert (await fit.records.open(other, TERMS)).kind == "lease"
    assert not await fit.records.fill(
        lease(held, ASK._replace(fingerprint="f2")), TERMS, VALUE + b"old", 10.0
    )
    await fit.records.release(intent("a"))
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_a_write_lease_hides_the_key_in_every_record_and_generation(fit: Fit) -> None:
    await known(fit)
    await fit.records.intend(intent("a"), TERMS)
    await fit.records.change(whole(50), TERMS)
    assert (await fit.records.open(ASK, TERMS)).kind == "written"
    await fit.records.change(change(None), TERMS)
    assert (await fit.records.open(ASK, TERMS)).kind == "written"


async def test_an_invalidation_leaves_the_write_leases_of_others(fit: Fit) -> None:
    await known(fit)
    await fit.records.intend(intent("a"), TERMS)
    await fit.records.change(change(300), TERMS)
    await write(fit, 500, nonce="b")
    await fit.records.release(intent("b"))
    assert (await fit.records.open(ASK, TERMS)).kind == "written"


async def test_a_strict_put_lands_under_its_own_write_lease_and_ends_it(fit: Fit) -> None:
    opened = await known(fit)
    await fit.records.intend(intent("a"), TERMS)
    assert (await write(fit, 100, put(opened, strict=True), nonce="a")).landed == 1
    assert (await fit.records.open(ASK, TERMS)).value == VALUE + b"new"


async def test_a_strict_put_without_its_write_lease_does_not_land(fit: Fit) -> None:
    opened = await known(fit)
    assert (await write(fit, 100, put(opened, strict=True), nonce="a")).landed == 0
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_a_put_does_not_land_beside_another_writers_lease_which_stays(fit: Fit) -> None:
    opened = await known(fit)
    await fit.records.intend(intent("a"), TERMS)
    await fit.records.intend(intent("b"), TERMS)
    assert (await write(fit, 100, put(opened, strict=True), nonce="a")).landed == 0
    assert (await fit.records.open(ASK, TERMS)).kind == "written"
    assert (await write(fit, 500, put(opened, strict=False))).landed == 0
    assert (await write(fit, 500, put(opened, strict=True), nonce="b")).landed == 1
    assert (await fit.records.open(ASK, TERMS)).kind == "value"


async def test_a_write_lease_past_its_deadline_gives_way_to_who_knows_that_it_is_over(
    fit: Fit,
) -> None:
    await known(fit)
    await fit.records.intend(intent("a", life=0.001), TERMS)
    await fit.records.intend(intent("b", "8"), TERMS)
    await asyncio.sleep(0.02)
    opened = await fit.records.open(ASK, TERMS)
    assert (opened.kind, opened.overdue) == ("written", (WriteLease("a", "7"),))
    assert (await fit.records.open(ASK._replace(over=("a",)), TERMS)).kind == "written"
    assert (await fit.records.open(ASK._replace(over=("b",)), TERMS)).kind == "lease"


async def test_a_write_lease_of_a_whole_owner_hides_all_its_keys_for_good(fit: Fit) -> None:
    held = await fill(fit)
    await fit.records.intend(intent("a", owners=("user",)), TERMS)
    assert (await fit.records.open(ASK, TERMS)).kind == "written"
    await fit.records.release(intent("a", owners=("user",)))
    opened = await fit.records.open(ASK, TERMS)
    assert opened.kind == "lease"
    assert opened.generation != held.generation


async def test_a_whole_owners_write_lease_ends_with_its_commit(fit: Fit) -> None:
    await known(fit)
    await fit.records.intend(intent("a", owners=("user",)), TERMS)
    await fit.records.change(whole(300)._replace(writing=Writing(200, (), "a")), TERMS)
    assert (await fit.records.open(ASK, TERMS)).kind == "lease"


async def test_an_intent_in_a_record_of_another_history_is_refused_until_confirmed(
    fit: Fit,
) -> None:
    await known(fit)
    assert (await fit.records.intend(intent("a"), OTHER)).history == TERMS.history
    assert not (await fit.records.intend(intent("a"), OTHER._replace(confirmed=True))).history
    assert (await fit.records.open(ASK, OTHER)).kind == "written"


async def test_a_look_changes_nothing(fit: Fit) -> None:
    assert await fit.records.look(OWN, "user", TERMS) is None
    assert fit.messages == []
    opened = await fit.records.open(ASK, TERMS)
    seen = await fit.records.look(OWN, "user", TERMS)
    assert seen == LookReply(opened.owner.incarnation, None, ())
    await fit.records.settle(OWN, TERMS, opened.owner.incarnation, 300)
    assert await fit.records.look(OWN, "user", TERMS) == LookReply(
        opened.owner.incarnation, 300, ()
    )
    assert await fit.records.look(OWN, "user", OTHER) is None


async def test_a_new_shape_makes_the_record_anew_and_its_floor_unknown(fit: Fit) -> None:
    """Whoever wrote before told nobody, and a poll that was begun before settles nothing."""
    held = await fill(fit)
    before = await fit.records.look(OWN, "user", TERMS)
    assert before is not None
    await fit.records.settle(OWN, TERMS, before.incarnation, 300)
    first = await fit.records.register("user", ["a=", "b="], TERMS)
    assert first.incarnation != before.incarnation
    assert first.shapes == ("a=", "b=")
    assert fit.messages[-1].bucket == OWN
    assert fit.messages[-1].incarnation == first.incarnation
    assert not await fit.records.settle(OWN, TERMS, before.incarnation, 400)
    looked = await fit.records.look(OWN, "user", TERMS)
    assert looked == LookReply(first.incarnation, None, ("a=", "b="))
    assert (await fit.records.open(ASK, TERMS)).kind == "lease", "what was there is out of reach"
    assert not await fit.records.fill(held, TERMS, VALUE + b"late", 10.0)
    # The highest position that was known is remembered.
    await fit.records.settle(OWN, TERMS, first.incarnation, 200)
    assert await fit.records.look(OWN, "user", TERMS) == LookReply(
        first.incarnation, 300, looked.shapes
    )


async def test_a_known_shape_leaves_the_record_alone(fit: Fit) -> None:
    first = await fit.records.register("user", ["a=", "b="], TERMS)
    held = await fill(fit)
    assert await fit.records.register("user", ["b="], TERMS) == first
    assert (await fit.records.open(ASK, TERMS)).generation == held.generation
    more = await fit.records.register("user", ["b=", "c="], TERMS)
    assert more.shapes == ("a=", "b=", "c=")
    assert more.incarnation != first.incarnation


async def test_shapes_go_with_their_record(fit: Fit) -> None:
    await fit.records.register("user", ["a="], TERMS)
    await fit.records.change(Change(OWN, (), ("user",), None), TERMS)
    looked = await fit.records.look(OWN, "user", TERMS)
    assert looked is not None
    assert looked.shapes == ()
    again = await fit.records.register("user", ["b="], TERMS)
    assert again.shapes == ("b=",)


async def test_a_move_of_the_owner_leaves_its_shapes(fit: Fit) -> None:
    first = await fit.records.register("user", ["a="], TERMS)
    await fit.records.change(whole(100), TERMS)
    looked = await fit.records.look(OWN, "user", TERMS)
    assert looked is not None
    assert (looked.incarnation, looked.shapes) == (first.incarnation, ("a=",))


async def test_beyond_the_bound_the_list_begins_anew(fit: Fit) -> None:
    some = [f"s{number}" for number in range(MOST_REGISTERED)]
    first = await fit.records.register("user", some, TERMS)
    assert len(first.shapes) == MOST_REGISTERED
    more = await fit.records.register("user", [some[7], "one more"], TERMS)
    assert more.shapes == (some[7], "one more")
    assert more.incarnation != first.incarnation


async def test_shapes_are_not_registered_in_another_history(fit: Fit) -> None:
    await fit.records.register("user", ["a="], TERMS)
    refused = await fit.records.register("user", ["a="], OTHER)
    assert (refused.history, refused.shapes) == (TERMS.history, ())
    anew = await fit.records.register("user", ["b="], OTHER._replace(confirmed=True))
    assert anew.shapes == ("b=",)
