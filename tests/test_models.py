"""The models hold with every rule, and break without each one, in worlds small enough for a few seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[1] / "models"


def check(model: str, rule: str, **world: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MODELS / model), *([rule] if rule else [])]
    return subprocess.run(command, env={**os.environ, **world}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "model, world",
    [
        ("fence.py", {"BOUNDS": "1 0 1 1"}),
        ("fence.py", {"BOUNDS": "1 1 1 0"}),
        ("fence.py", {"BOUNDS": "2 0 1 0", "WRITE": "through"}),
        ("tags.py", {"BOUNDS": "1 1 2"}),
        ("strict.py", {"BOUNDS": "1 1 1 1"}),
        ("strict.py", {"BOUNDS": "2 0 1 0"}),
        ("generations.py", {"BOUNDS": "1 0 1 1 1"}),
        ("generations.py", {"BOUNDS": "0 1 1 1 1", "KEYS": "0"}),
        ("generations.py", {"BOUNDS": "1 0 1 1 2", "KEYS": "0", "EVENTS": "lost reconnect"}),
        ("servers.py", {"BOUNDS": "1 2 0 2 1"}),
        ("servers.py", {"BOUNDS": "1 1 1 1 0"}),
    ],
)
def test_the_protocol_holds(model: str, world: dict[str, str]) -> None:
    done = check(model, "", **world)
    assert done.returncode == 0, done.stdout + done.stderr


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
        ("tags.py", "before", {"BOUNDS": "1 1 2"}),
        ("tags.py", "fresh", {"BOUNDS": "1 2 3"}),
        ("tags.py", "floor", {"BOUNDS": "1 1 2"}),
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
        ("generations.py", "everywhere", {"BOUNDS": "0 1 0 1 0", "KEYS": "2"}),
        ("generations.py", "floor", {"BOUNDS": "0 1 1 0 0", "KEYS": "0"}),
        ("generations.py", "generation", {"BOUNDS": "0 1 1 0 0", "KEYS": "1"}),
        ("generations.py", "gap", {"BOUNDS": "1 1 1 0 1", "KEYS": "0 1", "EVENTS": "lost"}),
        ("generations.py", "gap told", {"BOUNDS": "1 0 1 1 1", "KEYS": "0", "EVENTS": "lost"}),
        ("generations.py", "since", {"BOUNDS": "1 0 1 1 2", "KEYS": "0", "EVENTS": "lost reconnect"}),
        ("generations.py", "newest", {"BOUNDS": "0 1 2 0 0", "KEYS": "0 1"}),
        ("generations.py", "record", {"BOUNDS": "1 0 2 0 1", "KEYS": "0 1", "EVENTS": "anew"}),
        ("generations.py", "forgotten", {"BOUNDS": "1 0 1 1 1", "KEYS": "0", "EVENTS": "reconnect"}),
        ("generations.py", "same view", {"BOUNDS": "0 1 1 1 2", "KEYS": "1", "EVENTS": "lost reconnect"}),
        ("generations.py", "moved", {"BOUNDS": "1 0 1 0 0", "KEYS": "0"}),
        ("generations.py", "bookmark", {"BOUNDS": "1 0 1 1 0", "KEYS": "0"}),
        ("servers.py", "server", {"BOUNDS": "1 1 1 1 1"}),
        ("servers.py", "replication id", {"BOUNDS": "1 2 0 2 1"}),
        ("servers.py", "pulse", {"BOUNDS": "1 1 1 1 0"}),
        ("servers.py", "own record", {"BOUNDS": "1 1 1 1 0"}),
        ("servers.py", "two masters", {"BOUNDS": "2 0 2 1 0", "KEYS": "2"}),
        ("servers.py", "many", {"BOUNDS": "1 1 1 1 0"}),
    ],
)
def test_a_rule_is_needed(model: str, rule: str, world: dict[str, str]) -> None:
    """`settle` of the fence takes minutes: BOUNDS="2 2 1 0"."""
    done = check(model, rule, **world)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "VIOLATION" in done.stdout
