"""One stream in Redis: its names, and what is read of it and done to it off the hot path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from redis.asyncio import Redis

from repocache.behind.client import SideClient
from repocache.behind.positions import Item, StreamId, id_text, stream_id
from repocache.behind.scripts import GIVE_BACK, TAKE, TRIM
from repocache.errors import BehindUnavailable
from repocache.keys import cut

PAGE = 64
"""Items of one reply: each is of at most some 256 KB."""
FIRST, LAST = "-", "+"


@dataclass(frozen=True, slots=True)
class StreamNames:
    """Of one application, owner and number. They have no number of a format: what was accepted
    under one release is flushed under the next. The braces are a cluster's hash tag."""

    app: str
    owner: str
    number: int

    @property
    def root(self) -> str:
        return f"{self.app}:behind:{{{self.owner}.{self.number}}}"

    @property
    def items(self) -> str:
        """The stream; it is called so in the table, too."""
        return f"{self.root}:items"

    @property
    def state(self) -> str:
        return f"{self.root}:state"

    @property
    def lease(self) -> str:
        return f"{self.root}:lease"

    def mark(self, process: str) -> str:
        """Of what this process has sent last."""
        return f"{self.root}:mark:{process}"


class Turn(NamedTuple):
    """What was said to who asked to flush. `waited`: seconds, of the first item. `left`: changes
    that wait."""

    granted: bool
    waited: float
    left: int


class Stream:
    """Raises BehindUnavailable, whatever failed."""

    def __init__(self, names: StreamNames, client: SideClient) -> None:
        self.names = names
        self._client = client

    async def take(self, holder: str, lease: float, *, waited: float, most: int) -> Turn:
        """The right to flush, for `lease` seconds from now, if nobody else has it and the first
        item has waited so many seconds, or `most` changes wait."""
        keys = (self.names.items, self.names.state, self.names.lease)
        given = (holder, _milliseconds(lease), _milliseconds(waited), most)
        granted, age, left = await self._run(TAKE, keys, given)
        return Turn(bool(granted), age / 1000, left)

    async def look(self) -> Turn:
        """What waits; nobody may flush for it."""
        return await self.take("", 1.0, waited=0.0, most=1)

    async def give_back(self, holder: str) -> None:
        """Nobody has to wait for the lease's end."""
        await self._run(GIVE_BACK, (self.names.lease,), (holder,))

    async def first(self, most: int) -> list[Item]:
        """The oldest items, until they have `most` changes together."""
        found: list[Item] = []
        count = 0
        async for item in self._from(FIRST):
            found.append(item)
            count += item.changes
            if count >= most:
                break
        return found

    async def last(self) -> Item | None:
        """None if nothing waits."""
        return next(_items(await self._client.run(self._last)), None)

    async def has(self, item: Item) -> bool:
        """Whether it is there still."""
        found = await self._client.run(partial(self._between, item.text, item.text))
        return any(each.life == item.life for each in _items(found))

    async def since(self, life: str, id: StreamId | None) -> tuple[str, list[Item]]:
        """The life, and what came after the id, None: all. All, too, if it is another life than
        this one."""
        start = FIRST if id is None else _behind(id)
        name, page = await self._client.run(partial(self._with_life, start))
        now = (name or b"").decode()
        if now != life and id is not None:
            return await self.since(now, None)
        found = list(_items(page))
        if len(found) == PAGE:
            found += [item async for item in self._from(_behind(found[-1].id))]
        return now, found

    async def trim(self, last: Item) -> int | None:
        """Take out what is written, up to this item. How many changes wait still; None: it is
        another stream by now, and nothing was taken out."""
        given = (last.text, last.life, _behind(last.id))
        left = int(await self._run(TRIM, (self.names.items, self.names.state), given))
        return None if left < 0 else left

    async def _from(self, start: str) -> AsyncIterator[Item]:
        while True:
            page = list(_items(await self._client.run(partial(self._between, start, LAST))))
            for item in page:
                yield item
            if len(page) < PAGE:
                return
            start = _behind(page[-1].id)

    async def _last(self, redis: Redis) -> Any:
        return await redis.xrevrange(self.names.items, count=1)

    async def _between(self, first: str, last: str, redis: Redis) -> Any:
        return await redis.xrange(self.names.items, first, last, count=PAGE)

    async def _with_life(self, start: str, redis: Redis) -> Any:
        """Both at one moment."""
        async with redis.pipeline(transaction=True) as asked:
            asked.hget(self.names.state, "i")
            asked.xrange(self.names.items, start, count=PAGE)
            return await asked.execute()

    async def _run(self, script: str, keys: Sequence[str], given: Iterable[str | int]) -> Any:
        words = [str(each) for each in given]

        async def run(redis: Redis) -> Any:
            return await redis.register_script(script)(keys=list(keys), args=words)

        return await self._client.run(run)


def _behind(id: StreamId) -> str:
    return id_text((id[0], id[1] + 1))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)


def _items(found: Any) -> Iterator[Item]:
    """Raises BehindUnavailable for what is no item of ours: nothing is written past it."""
    for name, fields in found:
        try:
            yield Item(
                stream_id(name.decode()),
                fields[b"i"].decode(),
                int(fields[b"n"]),
                int(fields[b"c"]),
                fields[b"d"],
            )
        except (KeyError, ValueError) as error:
            raise BehindUnavailable(
                f"Redis: the item {cut(repr(name))} is none of this library's: whoever added it "
                "to the stream has to take it out (XDEL)"
            ) from error
