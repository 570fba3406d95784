"""One RESP3 connection to Redis for the whole process: commands, replies and pushes in Redis's own order.

Knows nothing of caches. `Link` is the way in; whoever builds one gives it an `Address` and a `Listener`.
"""

from repocache.wire.address import Address, Tls
from repocache.wire.breaker import Breaker, BreakerSettings
from repocache.wire.connection import Limits
from repocache.wire.handshake import PubsubLimit, ServerFacts
from repocache.wire.identity import Identity
from repocache.wire.link import Link, LinkSettings, Listener
from repocache.wire.reply import Reply, ReplyError
from repocache.wire.script import Script
from repocache.wire.waiting import Argument

__all__ = [
    "Address",
    "Argument",
    "Breaker",
    "BreakerSettings",
    "Identity",
    "Limits",
    "Link",
    "LinkSettings",
    "Listener",
    "PubsubLimit",
    "Reply",
    "ReplyError",
    "Script",
    "ServerFacts",
    "Tls",
]
