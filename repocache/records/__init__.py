"""The records of buckets and owners, and what lies under them, in Redis or in this process's
memory."""

from repocache.records.memory import MemoryRecords
from repocache.records.names import Namespace, Nonces, position_text
from repocache.records.port import (
    NO_POSITIONS,
    CallerHistory,
    Change,
    Fill,
    Generation,
    Intent,
    IntentReply,
    Lease,
    LookReply,
    OpenReply,
    OpenRequest,
    Put,
    Receipt,
    Records,
    Registration,
    Registrations,
    State,
    WriteLease,
    Writing,
)
from repocache.records.redis import RedisRecords
from repocache.records.registering import REGISTERING
from repocache.records.scripts import SCRIPTS as _SCRIPTS

SCRIPTS = (*_SCRIPTS, *REGISTERING)
"""All that are run here."""

__all__ = [
    "NO_POSITIONS",
    "SCRIPTS",
    "CallerHistory",
    "Change",
    "Fill",
    "Generation",
    "Intent",
    "IntentReply",
    "Lease",
    "LookReply",
    "MemoryRecords",
    "Namespace",
    "Nonces",
    "OpenReply",
    "OpenRequest",
    "Put",
    "Receipt",
    "Records",
    "RedisRecords",
    "Registration",
    "Registrations",
    "State",
    "WriteLease",
    "Writing",
    "position_text",
]
