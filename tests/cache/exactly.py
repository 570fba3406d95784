"""Equality to the type: 1 is not True, 1.10 is not 1.1, a list is not a tuple."""

import datetime
import uuid
from decimal import Decimal
from typing import Any


def exactly(value: Any) -> Any:
    """What is equal only for values that are the same, of the same types, all the way down; NaN is
    the same as NaN."""
    kind = type(value)
    if isinstance(value, list | tuple):
        return kind, [exactly(item) for item in value]
    if isinstance(value, dict):
        return kind, {key: exactly(item) for key, item in value.items()}
    if isinstance(value, Decimal):
        return kind, value.as_tuple()
    if isinstance(value, float):
        return kind, value.hex()
    if isinstance(value, datetime.time | datetime.datetime):
        return kind, value.isoformat()
    if isinstance(value, uuid.UUID):
        # That of asyncpg is a class of its own, and means the same.
        return uuid.UUID, value.int
    return kind, value
