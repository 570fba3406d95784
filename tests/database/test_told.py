"""What a database tells the log by itself, with its default settings."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import make_url

from repocache import Database, Replica, Settings
from repocache.events.remedies import NODE_OUT
from repocache.runtime.outbox import LOST
from repocache.testing import Endpoints, Servers
from tests.shop import REPOSITORIES, Users


@pytest.fixture
def elsewhere(repocache_servers: Servers) -> str:
    """Another database of the cluster, at a replica."""
    repocache_servers.primary.create_database("elsewhere")
    repocache_servers.catch_up()
    return repocache_servers.replicas[0].url(database="elsewhere")


async def test_what_an_operator_must_know(
    elsewhere: str, repocache_endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    wrong_password = make_url(repocache_endpoints.replicas[1])._replace(password="wrong")
    replicas = [Replica(elsewhere, name="elsewhere"), Replica(wrong_password, name="keyless")]
    with caplog.at_level(logging.DEBUG, "repocache"):
        async with Database(
            repocache_endpoints.primary,
            replicas=replicas,
            redis=repocache_endpoints.redis,
            repositories=REPOSITORIES,
        ) as db:
            assert await db[Users].get(7) is not None
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    for name in ("elsewhere", "keyless"):
        assert f"NodeOut(node={name!r}, why='refused'); {NODE_OUT['refused']}" in said
    assert f"Degraded(what='outbox', lost={LOST!r})" in said
    assert any(
        line.startswith("Unguarded(what='signed bookmarks'") and "secrets=" in line for line in said
    )
    timelines = [line for line in said if line.startswith("Degraded(what='the timeline of")]
    assert len(said) - len(timelines) == 4, said
    assert "wrong'" not in caplog.text


async def test_a_database_that_lacks_nothing_is_quiet(
    repocache_endpoints: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(secrets=("a secret of many bytes",))
    async with Database(
        repocache_endpoints.primary,
        replicas=repocache_endpoints.replicas,
        redis=repocache_endpoints.redis,
        repositories=REPOSITORIES,
        settings=settings,
    ) as db:
        assert await db[Users].get(7) is not None
    said = [record.message.split(",")[0] for record in caplog.records]
    assert [line for line in said if "the timeline of" not in line] == ["Degraded(what='outbox'"]
