"""The records of buckets and owners, and what lies under them, in Redis or in this process's memory."""

from repocache.records.memory import MemoryRecords
from repocache.records.names import Namespace, Nonces, position_text
from repocache.records.port import (
    NO_POSITIONS,
    Ask,
    Change,
    Generation,
    Intent,
    Lease,
    Noted,
    Opened,
    Put,
    Receipt,
    Records,
    State,
    Terms,
    WriteLease,
    Writing,
)
from repocache.records.redis import RedisRecords
from repocache.records.scripts import SCRIPTS

__all__ = [
    "NO_POSITIONS",
    "SCRIPTS",
    "Ask",
    "Change",
    "Generation",
    "Intent",
    "Lease",
    "MemoryRecords",
    "Namespace",
    "Nonces",
    "Noted",
    "Opened",
    "Put",
    "Receipt",
    "Records",
    "RedisRecords",
    "State",
    "Terms",
    "WriteLease",
    "Writing",
    "position_text",
]
