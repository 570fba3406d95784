"""The models hold with every rule, and break without each one, in worlds small enough for a few
seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[1] / "models"
PLAIN = {"SESSIONS": "plain plain", "ROWS": "2", "EVENTS": ""}
RECEIVER = {"EVENTS": "receiver"}
FAILED = {"EVENTS": "failed"}
DOUBT = {"EVENTS": "doubt"}
FORGER = {"EVENTS": "forged", "KEYS": "0"}


def check(model: str, rule: str, **world: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MODELS / model), *([rule] if rule else [])]
    return subprocess.run(
        command, env={**os.environ, **world}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "model, world",
    [
        ("fence.py", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", {"BOUNDS": "1 1 1 0"}),
        ("fence.py", {"BOUNDS": "2 0 1 0", "WRITE": "through"}),
        ("queries.py", {"BOUNDS": "1 1 1"}),
        ("queries.py", {"BOUNDS": "1 0 2", "START": "unregistered"}),
        ("strict.py", {"BOUNDS": "1 1 1 1"}),
        ("strict.py", {"BOUNDS": "2 0 1 0"}),
        ("generations.py", {"BOUNDS": "1 0 1 1 1"}),
        ("generations.py", {"BOUNDS": "0 1 1 1 1", "KEYS": "0"}),
        ("generations.py", {"BOUNDS": "1 0 1 1 2", "KEYS": "0", "EVENTS": "lost reconnect"}),
        ("generations.py", {**FORGER, "BOUNDS": "1 0 1 1 1"}),
        ("generations.py", {"BOUNDS": "2 0 0 0 2", "KEYS": "0 1", "EVENTS": "forged lost"}),
        ("generations.py", {**FORGER, "BOUNDS": "0 1 1 0 1"}),
        ("servers.py", {"BOUNDS": "1 2 0 2 1"}),
        ("servers.py", {"BOUNDS": "1 1 1 1 0"}),
        ("sessions.py", {**PLAIN, "BOUNDS": "1 1 2 0 0"}),
        ("sessions.py", {**RECEIVER, "BOUNDS": "0 1 2 0 1"}),
        ("sessions.py", {**FAILED, "BOUNDS": "1 0 3 0 1"}),
        ("sessions.py", {**DOUBT, "BOUNDS": "1 0 2 0 1"}),
        ("sessions.py", {"EVENTS": "", "BOUNDS": "0 1 1 1 0"}),
        ("lives.py", {"TIME": "7"}),
        ("fills.py", {"TIME": "9", "SETTINGS": "1:1 1:2 1:1"}),
        ("direct.py", {"BOUNDS": "2 2"}),
        ("doubt.py", {}),
        ("doubt.py", {"WRITE": "strict"}),
        ("primaries.py", {}),
        ("primaries.py", {"STRICT": "1"}),
        ("lookups.py", {"WRITES": "4"}),
        ("lookups.py", {"WRITES": "4", "OLD": "told"}),
        ("renewals.py", {}),
        ("refresh.py", {}),
        ("edge.py", {}),
        ("edge_tags.py", {}),
        ("followed.py", {"BOUNDS": "1 2 1 0"}),
        ("followed.py", {"BOUNDS": "1 2 0 1"}),
        ("followed.py", {"BOUNDS": "1 2 2 0"}),
    ],
)
def test_the_protocol_holds(model: str, world: dict[str, str]) -> None:
    done = check(model, "", **world)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "model, rule, world",
    [
        ("fence.py", "lease", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", "nonce", {"BOUNDS": "1 0 2 1"}),
        ("fence.py", "floor", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", "postcommit", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", "bookmark", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", "unknown", {"BOUNDS": "1 1 1 0"}),
        ("fence.py", "inorder", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", "landed", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", "sample", {"BOUNDS": "1 1 1 0", "EVENTS": "restart"}),
        ("fence.py", "server", {"BOUNDS": "1 1 1 0", "EVENTS": "failover"}),
        ("fence.py", "join", {"BOUNDS": "1 0 1 1", "EVENTS": "join"}),
        ("fence.py", "order", {"BOUNDS": "2 0 1 0", "WRITE": "through"}),
        ("queries.py", "after", {"BOUNDS": "1 1 2"}),
        ("queries.py", "lost", {"BOUNDS": "1 1 2"}),
        ("queries.py", "coarse", {"BOUNDS": "1 0 2"}),
        ("queries.py", "old", {"BOUNDS": "1 0 2"}),
        ("queries.py", "anew", {"BOUNDS": "1 0 2", "START": "unregistered"}),
        ("queries.py", "registered", {"BOUNDS": "1 1 2"}),
        ("queries.py", "settle", {"BOUNDS": "1 0 2", "START": "unregistered"}),
        ("queries.py", "floor", {"BOUNDS": "1 0 2"}),
        ("queries.py", "raise", {"BOUNDS": "1 0 2"}),
        ("queries.py", "remember", {"BOUNDS": "1 1 2"}),
        ("queries.py", "tokens first", {"BOUNDS": "1 0 2"}),
        ("queries.py", "before", {"BOUNDS": "1 0 3"}),
        ("queries.py", "fresh", {"BOUNDS": "1 1 2"}),
        ("strict.py", "before", {"BOUNDS": "1 0 1 0"}),
        ("strict.py", "refused", {"BOUNDS": "1 0 1 1"}),
        ("strict.py", "write lease", {"BOUNDS": "1 0 2 0"}),
        ("strict.py", "read leases", {"BOUNDS": "1 0 1 0"}),
        ("strict.py", "side by side", {"BOUNDS": "2 0 2 0"}),
        ("strict.py", "others", {"BOUNDS": "2 0 2 0"}),
        ("strict.py", "outside", {"BOUNDS": "1 0 2 1"}),
        ("strict.py", "own lease", {"BOUNDS": "2 0 1 0"}),
        ("strict.py", "order", {"BOUNDS": "2 0 0 0"}),
        ("strict.py", "in progress", {"BOUNDS": "1 0 2 0"}),
        ("strict.py", "visible", {"BOUNDS": "1 0 2 0"}),
        ("strict.py", "asked first", {"BOUNDS": "1 0 1 1"}),
        ("strict.py", "clock", {"BOUNDS": "2 0 2 0"}),
        ("strict.py", "primary", {"BOUNDS": "1 0 1 0"}),
        ("strict.py", "by script", {"BOUNDS": "1 0 1 1"}),
        ("strict.py", "sent", {"BOUNDS": "1 0 2 1"}),
        ("strict.py", "kept", {"BOUNDS": "1 0 2 1"}),
        ("strict.py", "locked", {"BOUNDS": "1 1 1 0"}),
        ("generations.py", "owner", {"BOUNDS": "0 1 0 1 0", "KEYS": "2"}),
        ("generations.py", "floor", {"BOUNDS": "0 1 1 0 0", "KEYS": "0"}),
        ("generations.py", "generation", {"BOUNDS": "0 1 1 0 0", "KEYS": "1"}),
        ("generations.py", "gap", {"BOUNDS": "2 0 1 0 1", "KEYS": "0 1", "EVENTS": "lost"}),
        ("generations.py", "gap told", {"BOUNDS": "1 0 1 1 1", "KEYS": "0", "EVENTS": "lost"}),
        (
            "generations.py",
            "since",
            {"BOUNDS": "1 0 1 1 2", "KEYS": "2", "EVENTS": "lost reconnect"},
        ),
        ("generations.py", "newest", {"BOUNDS": "0 1 2 0 0", "KEYS": "0 1"}),
        ("generations.py", "record", {"BOUNDS": "1 0 2 0 1", "KEYS": "0 1", "EVENTS": "anew"}),
        (
            "generations.py",
            "forgotten",
            {"BOUNDS": "1 0 1 1 1", "KEYS": "2", "EVENTS": "reconnect"},
        ),
        (
            "generations.py",
            "same view",
            {"BOUNDS": "1 0 1 1 2", "KEYS": "1", "EVENTS": "lost reconnect"},
        ),
        ("generations.py", "moved", {"BOUNDS": "1 0 1 0 0", "KEYS": "1"}),
        ("generations.py", "owner told", {"BOUNDS": "1 1 1 0 1", "KEYS": "0", "EVENTS": "lost"}),
        ("generations.py", "owner moved", {"BOUNDS": "0 1 1 0 0", "KEYS": "1"}),
        ("generations.py", "owner's bookmark", {"BOUNDS": "0 1 1 1 0", "KEYS": "0"}),
        ("generations.py", "bookmark", {"BOUNDS": "1 0 1 1 0", "KEYS": "0"}),
        ("generations.py", "told", {**FORGER, "BOUNDS": "1 0 0 1 1"}),
        ("generations.py", "no repetition", {**FORGER, "BOUNDS": "1 0 0 0 1"}),
        ("generations.py", "generation asked", {**FORGER, "BOUNDS": "0 2 1 1 1"}),
        ("generations.py", "ahead", {**FORGER, "BOUNDS": "0 0 2 0 1"}),
        (
            "generations.py",
            "answers alone",
            {"BOUNDS": "1 0 1 0 2", "KEYS": "1", "EVENTS": "forged anew"},
        ),
        ("generations.py", "tips", {"BOUNDS": "2 0 0 0 2", "KEYS": "0 1", "EVENTS": "forged lost"}),
        (
            "generations.py",
            "tip told",
            {"BOUNDS": "1 0 1 0 2", "KEYS": "0 1", "EVENTS": "forged lost"},
        ),
        (
            "generations.py",
            "one doubt",
            {"BOUNDS": "1 0 2 0 2", "KEYS": "0 1", "EVENTS": "forged anew"},
        ),
        ("servers.py", "server", {"BOUNDS": "1 1 1 1 1"}),
        ("servers.py", "replication id", {"BOUNDS": "1 2 0 2 1"}),
        ("servers.py", "pulse", {"BOUNDS": "1 1 1 1 0"}),
        ("servers.py", "own record", {"BOUNDS": "1 1 1 1 0"}),
        ("servers.py", "two masters", {"BOUNDS": "2 0 2 1 0", "KEYS": "2"}),
        ("servers.py", "many", {"BOUNDS": "1 1 1 1 0"}),
        ("sessions.py", "sent to the primary", {**PLAIN, "BOUNDS": "2 0 2 0 0"}),
        ("sessions.py", "shown", {"EVENTS": "", "BOUNDS": "0 1 2 0 0"}),
        ("sessions.py", "looked first", {**RECEIVER, "BOUNDS": "0 1 2 0 1"}),
        ("sessions.py", "transactions", {"EVENTS": "", "BOUNDS": "0 1 1 1 0"}),
        ("sessions.py", "while open", {"EVENTS": "", "BOUNDS": "0 1 1 1 0"}),
        ("sessions.py", "unknown stays", {**FAILED, "BOUNDS": "0 1 3 0 1"}),
        ("sessions.py", "begun later", {**FAILED, "BOUNDS": "0 1 3 0 1"}),
        ("sessions.py", "noted anew", {**FAILED, "BOUNDS": "1 0 3 0 1"}),
        ("sessions.py", "in doubt", {**DOUBT, "BOUNDS": "1 0 2 0 1"}),
        ("lives.py", "long lives", {"TIME": "7"}),
        ("lives.py", "reader's life", {"TIME": "7"}),
        ("lives.py", "primary's clock", {"TIME": "7"}),
        ("lives.py", "positions stay", {"TIME": "7"}),
        ("lives.py", "outages", {"TIME": "7"}),
        ("lives.py", "lagging", {"TIME": "9", "SETTINGS": "1:3", "CLOCKS": "0"}),
        ("lives.py", "sample's age", {"TIME": "7", "SETTINGS": "1:2", "CLOCKS": "0"}),
        ("lives.py", "wish", {"TIME": "7"}),
        ("fills.py", "last fill", {}),
        ("fills.py", "unheard", {}),
        ("fills.py", "longest", {"SETTINGS": "1:1 2:3 1:1"}),
        ("direct.py", "direct", {}),
        ("direct.py", "may be direct", {}),
        ("direct.py", "no answer", {}),
        ("direct.py", "other way", {}),
        ("direct.py", "dirty", {}),
        ("doubt.py", "not known", {}),
        ("doubt.py", "not known", {"WRITE": "strict"}),
        ("doubt.py", "again", {}),
        ("doubt.py", "visible", {}),
        ("doubt.py", "visible", {"WRITE": "strict"}),
        ("doubt.py", "covering", {}),
        ("primaries.py", "newer timeline", {}),
        ("primaries.py", "strict too", {"STRICT": "1"}),
        ("primaries.py", "not back", {"STRICT": "1"}),
        ("primaries.py", "newer counts", {}),
        ("primaries.py", "feed history", {}),
        ("primaries.py", "asked", {}),
        ("primaries.py", "sealed history", {}),
        ("primaries.py", "known no more", {}),
        ("lookups.py", "new value", {}),
        ("lookups.py", "row", {}),
        ("lookups.py", "still has", {}),
        ("renewals.py", "own lease", {}),
        ("renewals.py", "nonce", {}),
        ("renewals.py", "taken along", {}),
        ("renewals.py", "floor", {}),
        ("renewals.py", "floor of the lease", {}),
        ("renewals.py", "in place", {}),
        ("renewals.py", "not the writer", {}),
        ("renewals.py", "as long", {}),
        ("refresh.py", "kept tokens", {}),
        ("edge.py", "look again", {}),
        ("edge.py", "floor", {}),
        ("edge.py", "again", {}),
        ("edge.py", "heard", {}),
        ("edge.py", "arrived", {}),
        ("edge.py", "outbox", {}),
        ("edge.py", "kept", {}),
        ("edge.py", "past", {}),
        ("edge_tags.py", "strange", {}),
        ("edge_tags.py", "incarnation", {}),
        ("edge_tags.py", "missing", {}),
        ("edge_tags.py", "server", {}),
        ("edge_tags.py", "proven", {}),
        ("edge_tags.py", "ripe", {}),
        ("edge_tags.py", "before", {}),
        ("edge_tags.py", "same", {}),
        ("refresh.py", "both", {}),
        ("refresh.py", "what it reads", {}),
        ("refresh.py", "tokens first", {}),
        ("followed.py", "newer timeline", {"BOUNDS": "1 1 0 0"}),
        ("followed.py", "followed timeline", {"BOUNDS": "1 2 1 0"}),
        ("followed.py", "line of a read", {"BOUNDS": "1 2 0 0"}),
        ("followed.py", "own line", {"BOUNDS": "1 1 0 1"}),
    ],
)
def test_a_rule_is_needed(model: str, rule: str, world: dict[str, str]) -> None:
    """`one doubt` takes two minutes, `settle` of the fence more: BOUNDS="2 2 1 0"."""
    done = check(model, rule, **world)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "VIOLATION" in done.stdout
