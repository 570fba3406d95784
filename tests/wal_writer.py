"""What keeps asynchronous commits from the disk, so that a crash surely loses them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from repocache.testing import PostgresServer


def stop_wal_writer(server: PostgresServer) -> None:
    """Until the server is killed. To be slow is not enough: an asynchronous commit wakes a WAL
    writer that has had nothing to do for long."""
    [(pid,)] = server.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    assert b"walwriter" in Path(f"/proc/{pid}/cmdline").read_bytes(), "a process of this machine"
    os.kill(int(pid), signal.SIGSTOP)
