"""A session whose reads are recorded, by what somebody makes of them: a response, a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repocache.cache.entry import CachedRow
from repocache.cache.l1_reader import ReadRecorder
from repocache.routing.causal_session import CausalSession
from repocache.routing.delegated import DelegatedSession


class BothRecorders:
    """See `ReadRecorder`: two hear of all."""

    def __init__(self, one: ReadRecorder, other: ReadRecorder) -> None:
        self._both = one, other

    def row(self, of: object, owner: str, id: Any, cached: CachedRow) -> None:
        for each in self._both:
            each.row(of, owner, id, cached)

    def tokens(self, of: object, tokens: Mapping[str, str], shapes: Mapping[str, str]) -> None:
        for each in self._both:
            each.tokens(of, tokens, shapes)

    def behind(self, why: str) -> None:
        for each in self._both:
            each.behind(why)

    def unknown(self, why: str) -> None:
        for each in self._both:
            each.unknown(why)


class RecordedSession(DelegatedSession):
    """`recorder`: hears of each answer that its reads are given. Of two blocks within each other
    both hear: what is made in the inner one is part of what is made in the outer."""

    def __init__(self, session: CausalSession, recorder: ReadRecorder) -> None:
        super().__init__(session)
        outer = session.recorder
        self.recorder = recorder if outer is None else BothRecorders(recorder, outer)
        self.reads_past_caches = session.reads_past_caches
