"""Calls `load`: keys that are missed together share a call, which can reach nothing but its keys
and its reader."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Any

from repocache.cache.entry import RowRequest
from repocache.cache.settler import Spawn
from repocache.computed.key import KeyText
from repocache.computed.read_through import ReadThrough
from repocache.computed.reader import Reader, Reading
from repocache.computed.values import Computed
from repocache.errors import DatabaseUnavailable, NotStarted

MOST_NAMES = 32
"""Tags of the application's own that are remembered of one class."""

_Asked = tuple[KeyText, RowRequest, "asyncio.Future[Computed]"]


class Loading:
    """Of one class. `spawn`: runs calls in tasks of the database."""

    def __init__(self, declared: ReadThrough[Any, Any], reading: Reading, spawn: Spawn) -> None:
        self._declared = declared
        self._reading = reading
        self._spawn = spawn
        self._asked: list[_Asked] = []
        self._scheduled = False
        #: What `depends_on` has named before: their tokens are read before `load` is called.
        self._names: dict[str, None] = {}

    async def compute(self, text: KeyText, want: RowRequest) -> Computed:
        """One key's value, with whatever else is asked for in this turn of the loop. Raises what
        `load` raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Computed] = loop.create_future()
        self._asked.append((text, want, answer))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)
        return await answer

    def _flush(self) -> None:
        asked, self._asked, self._scheduled = self._asked, [], False
        most = self._declared.together
        for alike in _alike(asked):
            for begin in range(0, len(alike), most):
                some = alike[begin : begin + most]
                try:
                    self._spawn(self._run(some))
                except NotStarted as error:
                    _fail(some, error)

    async def _run(self, some: Sequence[_Asked]) -> None:
        """One call. If it fails, each key for itself: one that has no value must not take the
        others with it."""
        try:
            found = await self._call([text for text, _, _ in some], some[0][1])
        except asyncio.CancelledError:
            _fail(some, DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            if len(some) == 1:
                return _fail(some, error)
            for each in some:
                await self._run([each])
            return None
        for computed, (_, _, answer) in zip(found, some, strict=True):
            if not answer.done():
                answer.set_result(computed)

    async def _call(self, texts: Sequence[KeyText], want: RowRequest) -> list[Computed]:
        keys = list(dict.fromkeys(text.key for text in texts))
        reader = Reader(self._reading, want, await self._known(want))
        # An empty context: nothing of whoever asks first may become part of what all are given.
        loading = asyncio.get_running_loop().create_task(
            _load(self._declared, keys, reader), context=Context()
        )
        values = reader.check(keys, await loading)
        for name in reader.missing:
            self._remember(name)
        tokens = None if reader.missing else dict(sorted(reader.tokens.items()))
        return [Computed(each, tokens, reader.shapes, values.get(each.key)) for each in texts]

    async def _known(self, want: RowRequest) -> Mapping[str, str]:
        names = tuple(self._names)
        tokens = await self._reading.tokens(dict.fromkeys(names), want.bookmark) if names else []
        return dict(zip(names, tokens or (), strict=False))

    def _remember(self, name: str) -> None:
        """1. `load` reads elsewhere; 2. `depends_on` names the tag of that; 3. the tag is
        invalidated; 4. its token is read, which is a fresh one. So it is read before the call, and
        what a call names for the first time is not kept."""
        if self._reading.is_named(name):
            self._names.pop(name, None)
            self._names[name] = None
            if len(self._names) > MOST_NAMES:
                del self._names[next(iter(self._names))]


async def _load(
    declared: ReadThrough[Any, Any], keys: Sequence[Any], reader: Reader
) -> Mapping[Any, Any]:
    return await declared.load(keys, reader)


def _alike(asked: Sequence[_Asked]) -> Sequence[list[_Asked]]:
    """Those that one call may serve: they ask the same of a node."""
    groups: dict[Any, list[_Asked]] = {}
    for each in asked:
        want = each[1]
        same = id(want.bookmark), want.history, want.floor, want.fills
        groups.setdefault(same, []).append(each)
    return list(groups.values())


def _fail(some: Sequence[_Asked], error: Exception) -> None:
    for _, _, answer in some:
        if not answer.done():
            answer.set_exception(error)
