"""A session whose next unit of work is to find what it is built upon as it was."""

from __future__ import annotations

from dataclasses import dataclass

from repocache.routing.causal_session import CausalSession
from repocache.routing.delegated import DelegatedSession
from repocache.routing.recording import Trace


@dataclass(slots=True)
class Expectation:
    """`trace`: of what a client has seen, which the first unit of work holds; `failed`: it was
    not as it had been."""

    trace: Trace
    taken: bool = False
    failed: bool = False


class ExpectingSession(DelegatedSession):
    """`expects`: what its first unit of work holds."""

    def __init__(self, session: CausalSession, expects: Expectation) -> None:
        super().__init__(session)
        self.expects = expects
        self.reads_past_caches = session.reads_past_caches
