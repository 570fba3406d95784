"""A Redis: RESP3 over streams, with the records' rules of `MemoryRecords` in the scripts' place.

Owns what a server forgets when it is flushed, restarted, failed over or short of room.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, NamedTuple, Protocol, cast

import hiredis
import msgspec

from proof.simulation.loop import Loop
from proof.simulation.network import WORLDS, Stream
from repocache.keys import owner_bucket
from repocache.records import (
    NO_POSITIONS,
    CallerHistory,
    Change,
    Intent,
    Lease,
    MemoryRecords,
    Namespace,
    Nonces,
    OpenRequest,
    Put,
    Receipt,
    State,
    Writing,
)
from repocache.records.message import Message
from repocache.records.names import NOWHERE, UNKNOWN
from repocache.records.registering import LOOK, REGISTER
from repocache.records.scripts import (
    FILL,
    FILL_MANY,
    INTEND,
    INVALIDATE,
    OPEN,
    OPEN_MANY,
    RELEASE,
    SETTLE,
)
from repocache.redis_link import Script

APP = "memory"
"""As `MemoryRecords` names its keys."""
ROOM = 1_000_000
_NO = object()


def stores(records: MemoryRecords) -> tuple[dict[Any, Any], ...]:
    """What a Redis holds: records, values and leases, and write leases, as `MemoryRecords` keeps
    them."""
    return records._records, records._stored.values, records._stored.leases, records._writes


class Applied(NamedTuple):
    """A change, and which of its values landed, by their keys' texts."""

    change: Change
    landed: dict[str, bytes]


class Watch(Protocol):
    """Who is told what happened in Redis."""

    def changed(
        self, redis: Redis, applied: Applied, terms: CallerHistory, receipt: Receipt
    ) -> None: ...

    def landed(self, redis: Redis, text: str, value: bytes, terms: CallerHistory) -> None: ...


class Given(Nonces):
    """Of a server: the tip of a change is its writer's, if he gave one."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        self._redis = redis

    def tip(self) -> str:
        tip, self._redis.tip = self._redis.tip, ""
        return tip or super().tip()


class Redis:
    """One life of one server. `records`: what it holds; `made`: the incarnations of each record;
    `generations`: those that its owners were given."""

    _names = count(1)

    def __init__(
        self, loop: Loop, watch: Watch, run_id: str, before: MemoryRecords | None = None
    ) -> None:
        self.run_id = run_id
        self.replication = f"{run_id}.1"
        self.deposed = False
        self.loop = loop
        self.watch = watch
        self.subscribers: dict[Client, None] = {}
        self.clients: dict[Client, None] = {}
        self.replica = False
        self.deaf: Client | None = None
        self.made: dict[int, set[str]] = {}
        self.generations: dict[int, list[str]] = {}
        self.tip = ""
        nonces = Given(self)
        self.records = MemoryRecords(self._announce, nonces, loop.time, ROOM, run_id)
        if before is not None:
            self.take_over(before)

    def _announce(self, message: Message) -> None:
        self.made.setdefault(message.bucket, set()).add(message.incarnation)
        self.generations.setdefault(message.bucket, []).extend(message.generations.values())
        self.publish(message)

    def publish(self, message: Message) -> None:
        """To all who subscribed, but one that is to hear nothing."""
        push = _push(b"message", CHANNEL, msgspec.json.encode(message))
        for client in self.subscribers:
            if self.deaf is client:
                self.deaf = None
                self.loop.call_later(0.0005 * self.loop.draw(), self.nudge, context=WORLDS)
            else:
                client.stream.say(push)

    def flush(self) -> None:
        """FLUSHALL."""
        for store in stores(self.records):
            store.clear()

    def evict(self, draw: Callable[[], float]) -> None:
        """Something goes, to make room: a record, a value or a lease."""
        store = stores(self.records)[int(draw() * 3)]
        if store:
            del store[list(store)[int(draw() * len(store))]]

    def lose_next(self, draw: Callable[[], float]) -> None:
        """The next push does not reach one of the subscribers."""
        if self.subscribers:
            self.deaf = list(self.subscribers)[int(draw() * len(self.subscribers))]

    def nudge(self) -> None:
        """Each bucket gets a message that changes nothing."""
        for bucket, record in list(self.records._records.items()):
            if record.server == self.records._server:
                self.records.change(
                    Change(bucket, (), (), NO_POSITIONS), CallerHistory(record.history)
                )

    def promote(self, replication: str) -> None:
        """A master again, in the same process."""
        self.replica, self.deposed, self.replication = False, False, replication

    def take_over(self, before: MemoryRecords) -> None:
        for store, old in zip(stores(self.records), stores(before), strict=True):
            store.clear()
            store.update(copy.deepcopy(old))

    def stop(self) -> None:
        """Its connections end."""
        for client in list(self.clients):
            client.stream.reset()


CHANNEL = Namespace(APP).channel.encode()


class Client:
    """One connection as the server sees it."""

    def __init__(self, redis: Redis, stream: Stream) -> None:
        self.redis = redis
        self.stream = stream
        self._reader = hiredis.Reader(notEnoughData=_NO)
        redis.clients[self] = None

    def left(self) -> None:
        self.redis.clients.pop(self, None)
        self.redis.subscribers.pop(self, None)

    def receive(self, data: bytes) -> None:
        self._reader.feed(data)
        while (command := self._reader.gets()) is not _NO:
            self.stream.say(self._answer(command))

    def _answer(self, command: list[bytes]) -> bytes:
        name = command[0]
        if name == b"GETRANGE":
            return _bulk(
                (_now(self.redis.records.get(command[1].decode())) or b"")[: int(command[3]) + 1]
            )
        if name == b"EVALSHA":
            if self.redis.replica:
                return b"-READONLY You can't write against a read only replica.\r\n"
            first = 3 + int(command[2])
            return SCRIPTS[command[1]](
                self.redis, [key.decode() for key in command[3:first]], command[first:]
            )
        return self._other(name, command)

    def _other(self, name: bytes, command: list[bytes]) -> bytes:
        if name == b"SUBSCRIBE":
            self.redis.subscribers[self] = None
            return b"".join(
                _push(b"subscribe", channel, number)
                for number, channel in enumerate(command[1:], 1)
            )
        if name == b"PTTL":
            left = _now(self.redis.records.left(command[1].decode()))
            return b":%d\r\n" % (-2 if left < 0 else int(left * 1000))
        if name == b"HELLO":
            return b"%1\r\n$5\r\nproto\r\n:3\r\n"
        if name == b"INFO":
            role = "slave" if self.redis.replica else "master"
            return _bulk(
                f"run_id:{self.redis.run_id}\r\nredis_version:7.4.0\r\nrole:{role}\r\n"
                f"master_replid:{self.redis.replication}\r\nmaxmemory_policy:noeviction\r\n".encode()
            )
        if name == b"CONFIG":
            return b"%0\r\n"
        return b"+PONG\r\n" if name == b"PING" else b"+OK\r\n"


def _now(answer: Awaitable[Any]) -> Any:
    """What the records answer, they answer at once."""
    return cast("asyncio.Future[Any]", answer).result()


def _bucket(record: str) -> int:
    return int(record.rpartition("{b")[2][:-1])


def answer_open(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    """The OPEN script."""
    server, history, confirmed, _, _, _, owner, shape, text, *rest = [
        each.decode() for each in argv
    ]
    _, life, refused, _, keep, *over = rest
    redis.records._server = server
    ask = OpenRequest(
        _bucket(keys[0]),
        _bucket(keys[1]),
        owner,
        shape,
        text,
        int(life) / 1000,
        refused,
        tuple(over),
        int(keep) / 1000,
    )
    answer = _now(redis.records.open(ask, CallerHistory(history, confirmed == "1")))
    if answer.kind == "history":
        return _array(b"history", answer.history.encode(), answer.owner_history.encode())
    record = State(answer.incarnation, answer.seq, answer.floor, answer.tip)
    state = (answer.generation.encode(), _state(record), _state(answer.owner))
    if answer.kind == "written":
        names = [part.encode() for lease in answer.overdue for part in lease]
        return _array(b"written", *state, names)
    last: bytes | int = answer.value
    left = int(answer.left * 1000)
    if answer.beside:
        return _array(b"beside", *state, answer.value, left, answer.nonce.encode())
    if answer.kind == "value":
        return _array(b"value", *state, answer.value, left)
    if answer.kind == "lease":
        last = answer.nonce.encode()
    elif answer.kind == "wait":
        last = int(answer.wait * 1000)
    return _array(answer.kind.encode(), *state, last)


def _state(state: State) -> bytes:
    floor = "" if state.floor is None else f"{state.floor:016x}"
    return f"{state.incarnation} {state.seq} {state.tip} {floor}".encode()


def _fill(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    server, history, incarnation, generation, owner, shape, text, nonce = [
        each.decode() for each in argv[:8]
    ]
    redis.records._server = server
    lease = Lease(
        OpenRequest(
            *(_bucket(keys[0]), _bucket(keys[1]), owner, shape, text, 1.0),
            keep=float(bool(argv[10])),
        ),
        incarnation,
        generation,
        nonce,
        argv[10] == b"beside",
    )
    landed = _now(redis.records.fill(lease, CallerHistory(history), argv[8], int(argv[9]) / 1000))
    if landed:
        redis.watch.landed(redis, text, argv[8], CallerHistory(history))
    return b":%d\r\n" % landed


def _settle(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    server, history, incarnation, position = [each.decode() for each in argv]
    redis.records._server = server
    settled = _now(
        redis.records.settle(
            _bucket(keys[0]), CallerHistory(history), incarnation, int(position, 16)
        )
    )
    return b":%d\r\n" % settled


def _position(text: str) -> int | None:
    return None if text == UNKNOWN else NO_POSITIONS if text == NOWHERE else int(text, 16)


def _put(part: list[bytes]) -> Put:
    owner, text, shape, incarnation, generation = [each.decode() for each in part[:5]]
    return Put(
        owner, text, shape, incarnation, generation, part[5], int(part[6]) / 1000, part[7] == b"1"
    )


def _holds(redis: Redis, bucket: int, put: Put) -> bool:
    record, own = redis.records._records[bucket], redis.records._records[owner_bucket(put.owner)]
    if (record.incarnation, own.generation(put.owner)) != (put.incarnation, put.generation):
        return False
    name = (
        Namespace(APP).prefix(bucket, put.incarnation, put.generation, put.fingerprint) + put.text
    )
    return bool(_now(redis.records.get(name)) == put.value)


def _invalidate(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    server, history, confirmed, _, _, _, position, _, order, nonce = [
        each.decode() for each in argv[:10]
    ]
    tip, named_, puts = [each.decode() for each in argv[10:13]]
    redis.records._server = server
    rest = argv[13 + 2 * (len(keys) - 1) :]
    kept = [each.decode() for each in argv[13 : 13 + 2 * (len(keys) - 1)]]
    asides = {owner: int(life) / 1000 for owner, life in zip(kept[::2], kept[1::2], strict=True)}
    named, given = 2 * int(named_), 8 * int(puts)
    texts = [each.decode() for each in rest[:named]]
    values = tuple(_put(rest[at : at + 8]) for at in range(named, named + given, 8))
    change = Change(
        _bucket(keys[0]),
        tuple(zip(texts[::2], texts[1::2], strict=True)),
        tuple(each.decode() for each in rest[named + given :: 2]),
        _position(position),
        Writing(NO_POSITIONS if order in (UNKNOWN, NOWHERE) else int(order, 16), values, nonce),
        tuple(asides.items()),
    )
    terms = CallerHistory(history, confirmed == "1")
    redis.tip = tip
    receipt = _now(redis.records.change(change, terms))
    if receipt.history:
        return _array(b"history", receipt.history.encode())
    landed = {put.text: put.value for put in values if _holds(redis, change.bucket, put)}
    redis.watch.changed(redis, Applied(change, landed), terms, receipt)
    for text, value in landed.items():
        redis.watch.landed(redis, text, value, terms)
    return _array(b"done", receipt.incarnation.encode(), str(receipt.seq).encode(), receipt.landed)


def _intend(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    server, history, confirmed, _, _, _, nonce, xid, life, texts, owners, *rest = [
        each.decode() for each in argv
    ]
    redis.records._server, rest = server, rest[2 * (len(keys) - 1) :]
    named, moved = 2 * int(texts), 2 * int(owners)
    pairs = tuple(zip(rest[:named:2], rest[1:named:2], strict=True))
    whole, seen = tuple(rest[named : named + moved : 2]), tuple(rest[named + moved :])
    intent = Intent(_bucket(keys[0]), pairs, whole, seen, nonce, xid, int(life) / 1000)
    noted = _now(redis.records.intend(intent, CallerHistory(history, confirmed == "1")))
    if noted.history:
        return _array(b"history", noted.history.encode())
    generations = [str(part).encode() for owner in seen for part in noted.generations[owner]]
    return _array(
        b"done",
        noted.incarnation.encode(),
        str(noted.seq).encode(),
        noted.tip.encode(),
        generations,
    )


def _release(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    nonce, *names = [each.decode() for each in argv]
    redis.records.release(
        Intent(_bucket(keys[0]), tuple(("", name) for name in names), (), (), nonce, "", 0.0)
    )
    return b":1\r\n"


def _look(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
    server, history, owner = [each.decode() for each in argv]
    redis.records._server = server
    seen = _now(redis.records.look(_bucket(keys[0]), owner, CallerHistory(history)))
    if seen is None:
        return _bulk(None)
    floor = b"" if seen.floor is None else f"{seen.floor:016x}".encode()
    return _array(seen.incarnation.encode(), floor, _lines(seen.shapes))


def _register(redis: Redis, _keys: list[str], argv: list[bytes]) -> bytes:
    server, history, confirmed, _, _, _, owner, *listed = [each.decode() for each in argv]
    redis.records._server = server
    terms = CallerHistory(history, confirmed == "1")
    done = _now(redis.records.register(owner, listed, terms))
    if done.history:
        return _array(b"history", done.history.encode())
    return _array(b"done", done.incarnation.encode(), _lines(done.shapes))


def _lines(shapes: tuple[str, ...]) -> bytes:
    return "".join(f"{each}\n" for each in shapes).encode()


def _many(one: Script) -> Callable[[Redis, list[str], list[bytes]], bytes]:
    """The same script for many calls (`redis_link.script.MANY`)."""

    def run(redis: Redis, keys: list[str], argv: list[bytes]) -> bytes:
        replies: list[bytes] = []
        while argv:
            (few, given), argv = map(int, argv[:2]), argv[2:]
            replies.append(SCRIPTS[one.sha.encode()](redis, keys[:few], argv[:given]))
            keys, argv = keys[few:], argv[given:]
        return b"*%d\r\n" % len(replies) + b"".join(replies)

    return run


SCRIPTS: dict[bytes, Callable[[Redis, list[str], list[bytes]], bytes]] = {
    OPEN.sha.encode(): answer_open,
    OPEN_MANY.sha.encode(): _many(OPEN),
    FILL_MANY.sha.encode(): _many(FILL),
    FILL.sha.encode(): _fill,
    SETTLE.sha.encode(): _settle,
    INVALIDATE.sha.encode(): _invalidate,
    INTEND.sha.encode(): _intend,
    RELEASE.sha.encode(): _release,
    LOOK.sha.encode(): _look,
    REGISTER.sha.encode(): _register,
}


def _bulk(value: bytes | None) -> bytes:
    return b"_\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def _item(value: bytes | int | list[bytes]) -> bytes:
    if isinstance(value, list):
        return _array(*value)
    return b":%d\r\n" % value if isinstance(value, int) else _bulk(value)


def _array(*items: bytes | int | list[bytes]) -> bytes:
    return b"*%d\r\n" % len(items) + b"".join(map(_item, items))


def _push(*items: bytes | int) -> bytes:
    return b">%d\r\n" % len(items) + b"".join(map(_item, items))
