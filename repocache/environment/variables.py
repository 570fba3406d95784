"""The environment variables that give settings: their names, the settings, and how a text is
read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from repocache.cache.switch import CacheMode
from repocache.invalidation.outbox import OutboxMode

NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")
WHOLE = re.compile(r"[0-9]{1,18}")
ADDRESSES = ("PRIMARY", "REPLICAS", "REDIS")
"""Variables that name servers; what they may say is `reading`'s affair."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`name`: what follows the prefix. `setting`: the one it gives, by its path from `Settings`, as
    "topology.max_lag". `read`: makes its value of a text; raises ValueError, which says what to
    give, and nothing of the text."""

    name: str
    setting: str
    read: Callable[[str], Any]


def number(text: str) -> float:
    """Seconds, or a weight."""
    if not NUMBER.fullmatch(text):
        raise ValueError("give a number and nothing else, as 60 or 0.5; times are seconds")
    return float(text)


def whole(text: str) -> int:
    """Bytes, or how many."""
    if not WHOLE.fullmatch(text):
        raise ValueError("give a whole number and nothing else, as 1000; sizes are bytes")
    return int(text)


def switch(text: str) -> bool:
    """On or off."""
    if text not in ("true", "false"):
        raise ValueError("give true or false")
    return text == "true"


def words(text: str) -> tuple[str, ...]:
    """What whitespace separates."""
    return tuple(text.split())


def one_of(kind: type[Enum]) -> Callable[[str], Enum]:
    """A member, by its value."""
    members = {str(each.value): each for each in kind}

    def read(text: str) -> Enum:
        if text not in members:
            raise ValueError(f"give one of {', '.join(members)}")
        return members[text]

    return read


VARIABLES = (
    Variable("APP", "app", str),
    Variable("SECRETS", "secrets", words),
    Variable("ACCEPT_UNSIGNED", "accept_unsigned", switch),
    Variable("SIGN_VALUES", "sign_values", switch),
    Variable("OUTBOX", "outbox", one_of(OutboxMode)),
    Variable("OUTBOX_SCHEMA", "outbox_schema", str),
    Variable("OUTBOX_OWNERS", "outbox_owners", words),
    Variable("WINDOW", "window", number),
    Variable("UNCOVERED", "uncovered", number),
    Variable("PUBLISH_TIMEOUT", "publish_timeout", number),
    Variable("MEASURE_EVERY", "measure_every", number),
    Variable("MONOTONIC", "monotonic", switch),
    Variable("LOCAL_ENTRIES", "local_entries", whole),
    Variable("LOCAL_BYTES", "local_bytes", whole),
    Variable("POOL_SIZE", "topology.pool_size", whole),
    Variable("POOL_WAIT", "topology.pool_wait", number),
    Variable("CONNECT_TIMEOUT", "topology.connect_timeout", number),
    Variable("SAMPLE_EVERY", "topology.sample_every", number),
    Variable("PROBE_TIMEOUT", "topology.probe_timeout", number),
    Variable("MAX_LAG", "topology.max_lag", number),
    Variable("MAX_LAG_BYTES", "topology.max_lag_bytes", whole),
    Variable("CATCH_UP_WAIT", "topology.catch_up_wait", number),
    Variable("PRIMARY_READS", "topology.primary_reads", whole),
    Variable("PRIMARY_WAIT", "topology.primary_wait", number),
    Variable("CACHE_MODE", "cache.mode", one_of(CacheMode)),
    Variable("CACHE_LEASE", "cache.lease", number),
    Variable("CACHE_PATIENCE", "cache.patience", number),
    Variable("CACHE_MAX_VALUE", "cache.max_value", whole),
    Variable("REDIS_NAME", "link.name", str),
    Variable("REDIS_CONNECT_TIMEOUT", "link.connect_timeout", number),
    Variable("REDIS_REPLY_TIMEOUT", "link.limits.reply_timeout", number),
    Variable("REDIS_PULSE", "link.limits.pulse", number),
    Variable("REDIS_MAX_PENDING", "link.limits.max_pending", whole),
    Variable("REDIS_MAX_REPLY", "link.limits.max_reply", whole),
    Variable("REDIS_MAX_UNREAD", "link.limits.max_unread", whole),
)
"""In the order of the settings. What belongs to a program and not to where it runs (observers,
`misuse`, `eager`, `codecs`, functions) is given in code."""
