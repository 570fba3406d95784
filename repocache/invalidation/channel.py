"""What comes over the Redis connection beside replies: up, down and messages, handed on in
order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from repocache.events import CacheFailed, ChannelDown, ChannelUp, Degraded, Observer
from repocache.keys import BUCKETS
from repocache.records.authorship import Authorship
from repocache.records.message import Message, parse
from repocache.redis_link import ServerFacts

UNTOLD = (
    "a Redis that is demoted and promoted again without a restart is taken for the one that it "
    "was; let the user run INFO replication in full"
)
UNSIGNED = (
    "a message that is not signed with one of Settings(secrets=...): somebody may publish who "
    "should not, or a process has other secrets"
)


class Receiver(Protocol):
    """Who follows the channel: the views of the read path, and the feeds. Plain calls from the
    loop, none may block."""

    def up(self) -> None:
        """The channel is confirmed. What was known before counts no more."""
        ...

    def down(self) -> None: ...

    def apply(self, message: Message) -> None: ...

    def forget_all(self) -> None:
        """Something on the channel is no message of ours."""
        ...

    def new_history(self) -> None:
        """This process's primary writes another history: what was cached may hold commits that it
        never had."""
        ...


class Channel:
    """The link's listener. `server`: identity of the Redis, empty before the first handshake.
    `policy`: which keys it drops when its memory is full (`maxmemory-policy`), None: it does not
    tell. `strict`: an owner relies on it.

    `receivers` are told in their order; the list may change while the channel runs. `recovered`
    comes last: what waits for Redis may try again. `met`: hears of the history of each message,
    first of all: it may be of a newer timeline than this process has noticed. `authorship`: whose
    messages are heard.
    """

    def __init__(  # noqa: PLR0913  # keyword-only, the rest
        self,
        receivers: Sequence[Receiver],
        recovered: Callable[[], None],
        observe: Observer,
        met: Callable[[str], None],
        *,
        authorship: Authorship,
        strict: bool = False,
    ) -> None:
        self.server = ""
        self.policy: str | None = None
        self._receivers = receivers
        self._recovered = recovered
        self._observe = observe
        self._met = met
        self._authorship = authorship
        self._strict = strict

    def up(self, facts: ServerFacts) -> None:
        self.server = str(facts.identity)
        self.policy = facts.maxmemory_policy
        for receiver in tuple(self._receivers):
            receiver.up()
        self._observe(ChannelUp(self.server))
        self._check(facts)
        self._recovered()

    def down(self, reason: str) -> None:
        for receiver in tuple(self._receivers):
            receiver.down()
        self._observe(ChannelDown(reason))

    def push(self, channel: bytes, payload: bytes) -> None:
        """What is not signed is not heard, where it should be: it is as if it were lost, and the
        next message or answer of its record shows if it was."""
        message = parse(payload)
        if message is not None and message.bucket < 2 * BUCKETS:
            if not self._authorship.accepts(message):
                return self._observe(CacheFailed("message", UNSIGNED))
            self._met(message.history)
            return self.announce(message)
        for receiver in tuple(self._receivers):
            receiver.forget_all()
        self._observe(CacheFailed("message", "bytes that are no message of this wire version"))

    def announce(self, message: Message) -> None:
        """Tell everybody. A process alone announces to itself."""
        for receiver in tuple(self._receivers):
            receiver.apply(message)

    def new_history(self) -> None:
        """Tell everybody."""
        for receiver in tuple(self._receivers):
            receiver.new_history()

    def on_error(self, text: str) -> None:
        self._observe(CacheFailed("link", text))

    def _check(self, facts: ServerFacts) -> None:
        if not facts.identity.replication_id:
            self._observe(Degraded("master_replid in INFO replication", UNTOLD))
        if self._strict and self.policy is None:
            unchecked = (
                "strict write-through needs maxmemory-policy noeviction, which INFO does "
                "not tell: see to it"
            )
            self._observe(Degraded("maxmemory-policy is not known", unchecked))
        elif self._strict and self.policy != "noeviction":
            lost = (
                "strict owners are under plain write-through: a write lease could be evicted "
                "(set noeviction)"
            )
            self._observe(Degraded(f"maxmemory-policy is {self.policy}", lost))
        limit = facts.pubsub_limit
        if limit is not None and 0 < limit.hard < 32 * 1024 * 1024:
            self._observe(
                Degraded(
                    f"client-output-buffer-limit pubsub is {limit.hard} bytes",
                    (
                        "replies count under it: a large get_many may cost the connection; set it "
                        "to 32 MB or more"
                    ),
                )
            )
