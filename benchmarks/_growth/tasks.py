"""What the processes of a crew can be told to do, and what they agree on."""

from __future__ import annotations

from enum import StrEnum

CHANNEL = "peer"
"""Where the peer publishes."""


class Task(StrEnum):
    """Of a `Job`."""

    HITS = "read from Redis"
    PEER_HITS = "read from Redis by redis-py"
    HEARS = "hear invalidations"
    PEER_HEARS = "hear what redis-py publishes"
    STORMS = "publish invalidations"
    PEER_STORMS = "publish to a subscriber of redis-py"
