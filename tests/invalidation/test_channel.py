"""What comes beside replies, told to everybody who follows, in order."""

from __future__ import annotations

import msgspec
import pytest

from repocache.events import CacheFailed, ChannelDown, ChannelUp, Degraded, Event
from repocache.invalidation.channel import Channel, Receiver
from repocache.keys import BUCKETS
from repocache.records.authorship import Anybody, Authorship, SignedMessages
from repocache.records.message import WIRE_VERSION, Message
from repocache.redis_link import Identity, ServerFacts
from repocache.redis_link.handshake import PubsubLimit

MESSAGE = Message(WIRE_VERSION, 3, "i", 1, "h", keys=("user:7",))
MIB = 1024 * 1024
LATER = msgspec.structs.replace(MESSAGE, version=WIRE_VERSION + 1)
BEYOND = msgspec.structs.replace(MESSAGE, bucket=2 * BUCKETS)


class Follower:
    """Writes down what it is told, under its name."""

    def __init__(self, name: str, told: list[str]) -> None:
        self._name = name
        self._told = told

    def up(self) -> None:
        self._told.append(f"{self._name} up")

    def down(self) -> None:
        self._told.append(f"{self._name} down")

    def apply(self, message: Message) -> None:
        self._told.append(f"{self._name} {message.keys}")

    def forget_all(self) -> None:
        self._told.append(f"{self._name} forget")

    def new_history(self) -> None:
        self._told.append(f"{self._name} new history")


class Place:
    """A channel with two followers."""

    def __init__(self, authorship: Authorship | None = None) -> None:
        authorship = authorship or Anybody()
        self.told: list[str] = []
        self.events: list[Event] = []
        self.followers: list[Receiver] = [Follower("a", self.told), Follower("b", self.told)]
        self.channel = Channel(
            self.followers,
            lambda: self.told.append("recovered"),
            self.events.append,
            lambda history: self.told.append(f"met {history}"),
            authorship=authorship,
        )


def facts(limit: PubsubLimit | None = None, replication_id: str = "rep1") -> ServerFacts:
    return ServerFacts(Identity("run1", replication_id), "valkey 9", "master", None, limit)


def test_up_tells_all_and_then_what_waits_for_redis() -> None:
    place = Place()
    place.channel.up(facts())
    assert place.told == ["a up", "b up", "recovered"]
    assert place.events == [ChannelUp("run1.rep1")]
    assert place.channel.server == "run1.rep1"


def test_down_tells_all() -> None:
    place = Place()
    place.channel.down("lost")
    assert place.told == ["a down", "b down"]
    assert place.events == [ChannelDown("lost")]


def test_a_message_reaches_all_in_their_order() -> None:
    place = Place()
    place.channel.push(b"c", msgspec.json.encode(MESSAGE))
    assert place.told == ["met h", "a ('user:7',)", "b ('user:7',)"]
    assert place.events == []


@pytest.mark.parametrize("payload", [b"", b"{", *map(msgspec.json.encode, (LATER, BEYOND))])
def test_one_that_cannot_be_read_may_have_said_anything(payload: bytes) -> None:
    place = Place()
    place.channel.push(b"c", payload)
    assert place.told == ["a forget", "b forget"]
    [event] = place.events
    assert isinstance(event, CacheFailed)
    assert event.what == "message"


@pytest.mark.parametrize("payload", [b"", msgspec.json.encode(MESSAGE)])
def test_one_who_leaves_while_all_are_told_costs_nobody_his_message(payload: bytes) -> None:
    place = Place()
    hears = place.followers[1]

    class Leaves(Follower):
        def down(self) -> None:
            place.followers.remove(self)

        def up(self) -> None:
            self.down()

        def forget_all(self) -> None:
            self.down()

        def apply(self, message: Message) -> None:
            self.down()

        def new_history(self) -> None:
            self.down()

    def again() -> None:
        place.followers[:] = [Leaves("leaves", place.told), hears]

    again()
    place.channel.up(facts())
    again()
    place.channel.push(b"c", payload)
    again()
    place.channel.down("lost")
    again()
    place.channel.new_history()
    heard = ["met h", "b ('user:7',)"] if payload else ["b forget"]
    assert place.told == ["b up", "recovered", *heard, "b down", "b new history"]


def test_a_new_history_of_ones_own_tells_all() -> None:
    """Feeds too: what they were told by a message of it came perhaps before this process had
    noticed."""
    place = Place()
    place.channel.new_history()
    assert place.told == ["a new history", "b new history"]
    assert place.events == []


def test_what_a_process_alone_announces_is_of_its_own_history() -> None:
    place = Place()
    place.channel.announce(MESSAGE)
    assert place.told == ["a ('user:7',)", "b ('user:7',)"]


def test_trouble_is_told() -> None:
    place = Place()
    place.channel.on_error("why")
    assert place.events == [CacheFailed("link", "why")]


@pytest.mark.parametrize(
    "hard, small",
    [(0, False), (1, True), (32 * MIB - 1, True), (32 * MIB, False), (64 * MIB, False)],
)
def test_a_limit_under_which_large_answers_cost_the_connection_is_told(
    hard: int, small: bool
) -> None:
    place = Place()
    place.channel.up(facts(PubsubLimit(hard, 0, 0)))
    assert [isinstance(event, Degraded) for event in place.events] == (
        [False, True] if small else [False]
    )


def test_a_redis_that_hides_its_replication_id_is_told() -> None:
    place = Place()
    place.channel.up(facts(replication_id=""))
    assert [event.what for event in place.events if isinstance(event, Degraded)] == [
        "master_replid in INFO replication"
    ]


SECRETS = ("the newest secret", "the one before it")


def signed(secret: str, message: Message = MESSAGE) -> bytes:
    mac = SignedMessages([secret]).mac(message.said)
    return msgspec.json.encode(msgspec.structs.replace(message, mac=mac))


@pytest.mark.parametrize("secret", SECRETS)
def test_a_message_that_is_signed_with_any_secret_is_heard(secret: str) -> None:
    place = Place(SignedMessages(SECRETS))
    place.channel.push(b"c", signed(secret))
    assert place.told == ["met h", "a ('user:7',)", "b ('user:7',)"]


@pytest.mark.parametrize(
    "payload",
    [
        msgspec.json.encode(MESSAGE),
        signed("another secret altogether"),
        signed(SECRETS[0]).replace(b"user:7", b"user:8"),
        signed(SECRETS[0]).replace(b'"h":"h"', b'"h":"i"'),
        signed(SECRETS[0]).replace(b'"t":""', b'"t":"x"'),
        signed(SECRETS[0]).replace(b'"g":{}', b'"g":{"user":"x"}'),
        signed(SECRETS[0]).replace(b'"a":"', b'"a":"\xc3\xa4'),
    ],
    ids=[
        "not signed",
        "by others",
        "another key",
        "another history",
        "another tip",
        "a generation",
        "no ASCII",
    ],
)
def test_no_other_is(payload: bytes) -> None:
    place = Place(SignedMessages(SECRETS))
    place.channel.push(b"c", payload)
    assert place.told == []
    assert [event.what for event in place.events if isinstance(event, CacheFailed)] == ["message"]


def test_one_that_is_not_signed_is_heard_while_it_may_be() -> None:
    """But none that is signed wrongly."""
    place = Place(SignedMessages(SECRETS, accept_unsigned=True))
    place.channel.push(b"c", msgspec.json.encode(MESSAGE))
    assert place.told == ["met h", "a ('user:7',)", "b ('user:7',)"]
    place.channel.push(b"c", signed("another secret altogether"))
    assert len(place.told) == 3


def test_what_is_no_message_may_have_been_one_whoever_signs() -> None:
    place = Place(SignedMessages(SECRETS))
    place.channel.push(b"c", b"{")
    assert place.told == ["a forget", "b forget"]
