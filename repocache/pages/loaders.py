"""What the two entries of a page are loaded by: who misses one renders, under the entry's lease, so
that one of the fleet does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from repocache.cache.entry import Row, RowRequest
from repocache.errors import CodecError
from repocache.pages.page import BodyId, PageKey, Rendered, body_id
from repocache.routing.recording import Trace

Keep = Callable[[BodyId], Awaitable[object]]
"""Stores a page that is held, under its name."""


class NotThere(CodecError):
    """A page that nobody was to render."""

    def __init__(self) -> None:
        super().__init__("there is no page under this name")


class RenderedElsewise(CodecError):
    """A page was rendered that is not kept under the name that was asked for. `rendered`: for who
    asked himself."""

    def __init__(self, rendered: Rendered, key: PageKey) -> None:
        super().__init__("rendered, and not kept")
        self.rendered = rendered
        self.key = key


async def rendered_by(key: PageKey) -> Rendered:
    """In the context of whoever asked. Raises NotThere if he has gone, or his rendering failed, as
    it may by his request alone: that is `key.failed`, and nobody else's."""
    loop, loading = asyncio.get_running_loop(), asyncio.current_task()
    try:
        made = await loop.create_task(_run(key), context=key.context)
    except asyncio.CancelledError as gone:
        if loading is None or loading.cancelling():
            raise
        raise NotThere from gone
    except Exception as error:
        key.failed = error
        raise NotThere from error
    key.rendered = made
    return made


async def _run(key: PageKey) -> Rendered:
    return await key.render()


class TraceLoader:
    """Renders what there is no trace of, and keeps the page before its trace."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """See `cache.entry.Load`."""
        return {want.id: await self._one(want) for want in wanted}

    async def _one(self, want: RowRequest) -> Row | CodecError:
        key: PageKey = want.id
        try:
            rendered = await rendered_by(key)
        except NotThere as error:
            return error
        if not rendered.is_traced or not want.fills:
            return RenderedElsewise(rendered, key)
        if rendered.page is not None:
            await self._keep(body_id(key, rendered.trace.version, held=rendered.page))
        return (str(key), rendered.trace)


class BodyLoader:
    """Renders a page that is not there. If it turns out to be made of something else than its name
    says, it is kept under its own; if of other tags, their trace replaces the old one
    (`renew`)."""

    def __init__(self, keep: Keep, renew: Callable[[str, Trace], None]) -> None:
        self._keep = keep
        self._renew = renew

    async def load(self, wanted: Sequence[RowRequest]) -> Mapping[Any, Row | CodecError]:
        """See `cache.entry.Load`."""
        return {want.id: await self._one(want) for want in wanted}

    async def _one(self, want: RowRequest) -> Row | CodecError:
        id: BodyId = want.id
        if id.held is not None:
            return (str(id), id.held)
        if id.page is None:
            return NotThere()
        try:
            rendered = await rendered_by(id.page)
        except NotThere as error:
            return error
        if rendered.page is None or not want.fills:
            return RenderedElsewise(rendered, id.page)
        own = body_id(id.page, rendered.trace.version, held=rendered.page)
        if own == id:
            return (str(id), rendered.page)
        await self._keep(own)
        if rendered.trace.tags != id.trace.tags:
            self._renew(str(id.page), rendered.trace)
        return RenderedElsewise(rendered, id.page)
