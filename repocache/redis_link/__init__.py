"""One RESP3 connection to Redis for the whole process: commands, replies and pushes in Redis's own
order.

Knows nothing of caches. `Link` is the way in; whoever builds one gives it an `Address` and a
`Listener`.
"""

from repocache.redis_link.address import Address, Tls
from repocache.redis_link.breaker import Breaker, BreakerSettings
from repocache.redis_link.client import RedisClient, address_of
from repocache.redis_link.connection import Limits
from repocache.redis_link.handshake import PubsubLimit, ServerFacts, info_fields
from repocache.redis_link.identity import Identity
from repocache.redis_link.link import Link, LinkSettings, Listener
from repocache.redis_link.reply import Reply, ReplyError
from repocache.redis_link.script import Script
from repocache.redis_link.waiting import Argument

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
    "RedisClient",
    "Reply",
    "ReplyError",
    "Script",
    "ServerFacts",
    "Tls",
    "address_of",
    "info_fields",
]
