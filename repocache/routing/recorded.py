"""A session whose reads are recorded, by what somebody makes of them: a response, a page."""

from __future__ import annotations

from repocache.cache.l1_reader import ReadRecorder
from repocache.routing.causal_session import CausalSession
from repocache.routing.delegated import DelegatedSession


class RecordedSession(DelegatedSession):
    """`recorder`: hears of each answer that its reads are given. Of two blocks within each other
    the inner one's alone."""

    def __init__(self, session: CausalSession, recorder: ReadRecorder) -> None:
        super().__init__(session)
        self.recorder = recorder
        self.reads_past_caches = session.reads_past_caches
