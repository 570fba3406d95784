"""`repocache verify` as a command: what it prints, and its exit statuses."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from repocache.testing import Endpoints, Servers
from tests.shop import open_shop, shop_template, until
from tests.verification.conftest import outside

__all__ = ["outside"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return shop_template(repocache_servers)


@pytest.fixture
def application(repocache_endpoints: Endpoints, tmp_path: Path) -> Path:
    """A folder with an application's module."""
    (tmp_path / "shop_data.py").write_text(
        f"""
from repocache import Database
from tests.shop import REPOSITORIES

db = Database({repocache_endpoints.primary!r}, replicas={list(repocache_endpoints.replicas)!r},
              redis={repocache_endpoints.redis!r}, repositories=REPOSITORIES)
nothing = 7

def make():
    return db
"""
    )
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "repocache", "verify", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_right_and_wrong(
    application: Path, repocache_endpoints: Endpoints, outside: object
) -> None:
    async with open_shop(repocache_endpoints) as shop:
        await shop.users.get_many(range(1, 11))
        await until(lambda: shop.users._peek(10) is not None, "the fills have landed")
        done = await asyncio.to_thread(run, application, "shop_data:db", "--within", "0")
        assert done.returncode == 0, done.stderr
        assert "of 10 cached values 0 wrong, 0 late, 0 repaired" in done.stdout.replace("\n", "")
        await outside(3, name="unheard")  # type: ignore[operator]
        done = await asyncio.to_thread(
            run, application, "shop_data:make", "--within", "0", "--json"
        )
        assert done.returncode == 1, done.stderr
        told = json.loads(done.stdout)
        assert (told["judged"], told["wrong"], told["repaired"]) == (10, 1, 1)
        assert told["found"] == [
            {"owner": "user", "tier": "l2", "right": 9, "moved": 0, "late": 0, "wrong": 1}
        ]


@pytest.mark.parametrize(
    "target, why",
    [
        ("shop_data", "give module:name of your Database"),
        ("shop_data:other", "has no attribute 'other'"),
        ("shop_data:nothing", "is int: name a Database"),
        ("shop.data:db", "there is no module 'shop'"),
    ],
)
def test_no_database(application: Path, target: str, why: str) -> None:
    done = run(application, target)
    assert done.returncode == 2
    assert why in done.stderr
