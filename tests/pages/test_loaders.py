"""What a rendering brought lies under its own name, and under no other."""

from __future__ import annotations

from contextvars import Context
from typing import Any

from repocache.cache.entry import RowRequest
from repocache.pages.loaders import BodyLoader, RenderedElsewise
from repocache.pages.page import BodyId, KeptPage, PageKey, Rendered, body_id
from repocache.routing.recording import Trace

BEFORE = Trace({"product": {"product:1": b"1"}}, {}, {})
CHANGED = Trace({"product": {"product:1": b"2"}}, {}, {})
OF_MORE = Trace({"product": {"product:1": b"2", "product:2": b"1"}}, {}, {})
PAGE = KeptPage(200, (), b"page", 0.0)


async def rendered(trace: Trace) -> tuple[Any, BodyId, list[BodyId], list[Trace]]:
    """The answer to who looks for the page of before, when its rendering is made of `trace`; what
    was looked for; what was kept, and the traces that replaced the one of before."""
    kept: list[BodyId] = []
    renewed: list[Trace] = []

    async def keep(id: BodyId) -> None:
        kept.append(id)

    async def render() -> Rendered:
        return Rendered(PAGE, trace, is_traced=True)

    loader = BodyLoader(keep, lambda _, trace: renewed.append(trace))
    key = PageKey.of("key", render, Context())
    id = body_id(key, BEFORE.version, page=key, trace=BEFORE)
    want = RowRequest(id=id, floor=0, history="", bookmark=None, fills=True)
    return (await loader.load([want]))[id], id, kept, renewed


async def test_the_same_is_kept_under_the_name_that_was_looked_for() -> None:
    answer, id, kept, renewed = await rendered(BEFORE)
    assert (answer, kept, renewed) == ((str(id), PAGE), [], [])


async def test_what_changed_meanwhile_is_kept_under_its_own_name() -> None:
    """Under the other it would be found again once the row is as it was."""
    answer, id, kept, renewed = await rendered(CHANGED)
    assert isinstance(answer, RenderedElsewise)
    assert kept == [body_id("key", CHANGED.version)] != [id]
    assert [each.held for each in kept] == [PAGE]
    assert renewed == [], "its tags are the same: the trace leads there"


async def test_what_is_made_of_more_has_another_trace() -> None:
    answer, _, kept, renewed = await rendered(OF_MORE)
    assert isinstance(answer, RenderedElsewise)
    assert kept == [body_id("key", OF_MORE.version)]
    assert renewed == [OF_MORE]
