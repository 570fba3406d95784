"""Calls `load`: keys that are missed together share a call, which can reach nothing but its keys
and its reader."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from typing import Any

from repocache.cache.entry import RowRequest
from repocache.cache.settler import Spawn
from repocache.computed.entry import Computed, KeptValue, shapes_of
from repocache.computed.key import KeyText
from repocache.computed.read_through import ReadThrough
from repocache.computed.reader import Reader, Reading
from repocache.errors import CodecError, DatabaseUnavailable, NotStarted

MOST_NAMES = 32
"""Tags of the application's own that are remembered of one class."""

_Asked = tuple[KeyText, RowRequest, KeptValue | None, "asyncio.Future[Computed]"]


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

    async def compute(
        self, text: KeyText, want: RowRequest, kept: KeptValue | None = None
    ) -> Computed:
        """One key's value, with whatever else is asked for in this turn of the loop. `kept`: what
        may still be right. Raises what `load` and `refresh` raise."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Computed] = loop.create_future()
        self._asked.append((text, want, kept if self._declared.refreshes() else None, answer))
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
            found = await self._computed(some)
        except asyncio.CancelledError:
            _fail(some, DatabaseUnavailable("the database was closed during the load"))
            raise
        except Exception as error:  # noqa: BLE001  # it is the callers'
            if len(some) == 1:
                return _fail(some, error)
            for each in some:
                await self._run([each])
            return None
        for computed, (_, _, _, answer) in zip(found, some, strict=True):
            if not answer.done():
                answer.set_result(computed)

    async def _call(self, texts: Sequence[KeyText], want: RowRequest) -> list[Computed]:
        keys = list(dict.fromkeys(text.key for text in texts))
        reader = Reader(self._reading, want, await self._known(want))
        values = reader.check(keys, await _apart(_load(self._declared, keys, reader)))
        tokens = self._tokens_of(reader)
        return [Computed(each, tokens, reader.shapes, values.get(each.key)) for each in texts]

    def _tokens_of(self, reader: Reader) -> Mapping[str, str] | None:
        for name in reader.missing:
            self._remember(name)
        return None if reader.missing else dict(sorted(reader.tokens.items()))

    async def _computed(self, some: Sequence[_Asked]) -> list[Computed]:
        """In the order asked. What `refresh` does not answer for is loaded."""
        want = some[0][1]
        right: Mapping[str, Computed] = {}
        if some[0][2] is not None:
            right = await self._refresh({text: kept for text, _, kept, _ in some if kept}, want)
        rest = [text for text, *_ in some if text not in right]
        loaded = dict(zip(rest, await self._call(rest, want) if rest else (), strict=True))
        return [right[text] if text in right else loaded[text] for text, *_ in some]

    async def _refresh(
        self, kept: Mapping[KeyText, KeptValue], want: RowRequest
    ) -> Mapping[str, Computed]:
        """What was kept, or new values, of keys for which `refresh` says which. They depend on what
        they were computed of and on what it has read: under the tokens that the kept ones lie
        under, so that an invalidation which comes meanwhile leaves them where nobody finds them."""
        still = {text: each for text, each in kept.items() if await self._is_current(each, want)}
        if not still:
            return {}
        reader = Reader(self._reading, want, await self._known(want))
        stale = {text.key: each.value for text, each in still.items()}
        answered = await _apart(_ask_again(self._declared, stale, reader))
        answers = reader.check(list(stale), answered, method="refresh")
        tokens = self._tokens_of(reader)
        found: dict[str, Computed] = {}
        for text, each in still.items():
            if text.key not in answers or _moved(each.tokens, tokens):
                continue
            under = None if tokens is None else dict(sorted({**tokens, **each.tokens}.items()))
            shapes = {**reader.shapes, **each.shapes}
            found[text] = Computed(text, under, shapes, answers[text.key])
        return found

    async def _is_current(self, kept: KeptValue, want: RowRequest) -> bool:
        """Whether nothing that it depends on was invalidated, as far as this process can know."""
        try:
            shapes = shapes_of(kept.shapes)
        except CodecError:
            return False  # of another release
        now = await self._reading.tokens(shapes, want.bookmark)
        return now is not None and dict(zip(shapes, now, strict=True)) == kept.tokens

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


async def _ask_again(
    declared: ReadThrough[Any, Any], stale: Mapping[Any, Any], reader: Reader
) -> Mapping[Any, Any]:
    return await declared.refresh(stale, reader)


async def _apart(call: Coroutine[Any, Any, Mapping[Any, Any]]) -> Mapping[Any, Any]:
    """In an empty context: nothing of whoever asks first may become part of what all are given."""
    return await asyncio.get_running_loop().create_task(call, context=Context())


def _moved(under: Mapping[str, str], read: Mapping[str, str] | None) -> bool:
    """Whether what was read again had other tokens than the value was computed under."""
    return any(under.get(tag, token) != token for tag, token in (read or {}).items())


def _alike(asked: Sequence[_Asked]) -> Sequence[list[_Asked]]:
    """Those that one call may serve: they ask the same of a node."""
    groups: dict[Any, list[_Asked]] = {}
    for each in asked:
        want = each[1]
        same = id(want.bookmark), want.history, want.floor, want.fills, each[2] is None
        groups.setdefault(same, []).append(each)
    return list(groups.values())


def _fail(some: Sequence[_Asked], error: Exception) -> None:
    for *_, answer in some:
        if not answer.done():
            answer.set_exception(error)
