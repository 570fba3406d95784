"""The second example: a current user of nine tables, without SQL, and right after each change."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import nullcontext

import pytest

from examples.admin.app import PERMISSIONS, make_app
from examples.admin.models import Base
from examples.admin.repositories import REPOSITORIES
from repocache.testing import Endpoints, Servers
from tests.examples.admin import ADA, BOB, CHANGES, ME, make_admin
from tests.examples.service import Service, paused_replicas, plain, serving, truth
from tests.shop import template


@pytest.fixture(scope="session")
def repocache_template(repocache_servers: Servers) -> str:
    return template(repocache_servers, "admin_template", make_admin)


@pytest.fixture
async def service(repocache_endpoints: Endpoints) -> AsyncIterator[Service]:
    async with serving(repocache_endpoints, REPOSITORIES, make_app) as service:
        yield service


@pytest.fixture
async def other(repocache_endpoints: Endpoints, service: Service) -> AsyncIterator[Service]:
    """Another process of the same application."""
    async with serving(repocache_endpoints, REPOSITORIES, make_app) as other:
        yield other


@pytest.fixture
async def oracle(repocache_endpoints: Endpoints) -> AsyncIterator[Service]:
    async with serving(plain(repocache_endpoints), REPOSITORIES, make_app) as oracle:
        yield oracle


def test_all_nine_are_changed() -> None:
    assert len(CHANGES) == 9
    assert set(CHANGES) == set(Base.metadata.tables)


async def test_who_is_asking_takes_no_statement_when_warm(service: Service, other: Service) -> None:
    assert await service.ask("GET", "/me", ADA) == (
        200,
        {
            "id": 1,
            "name": "ada",
            "department": "department 1",
            "positions": ["position 1"],
            "roles": ["role 1"],
            "menus": [f"menu {id}" for id in range(1, 6)],
            "permissions": sorted(PERMISSIONS),
            "departments": ["department 1"],
        },
    )
    assert len(service.sent) == 9, "cold: an entry each"
    await service.warm(ME)
    assert await other.statements(ME) == {"me": 0}, "of what the first has left in Redis"


@pytest.mark.parametrize("paused", [False, True], ids=["replicas as they are", "paused"])
async def test_it_is_right_after_a_change_of_any_table(
    paused: bool, service: Service, other: Service, oracle: Service, repocache_controls: Servers
) -> None:
    """Made in one process and in the other by turns, seen in both."""
    by, beside = service, other
    for table, (method, path, body) in CHANGES.items():
        service.bookmark = other.bookmark = None
        before = await truth(oracle, ME)
        assert await service.warm(ME) == await other.warm(ME) == before, table
        with paused_replicas(repocache_controls) if paused else nullcontext():
            status, _ = await by.ask(method, path, ADA, json=body)
            assert status == 200, table
            assert any(re.match(rf"(UPDATE|INSERT INTO|DELETE FROM) {table}\b", s) for s in by.sent)
            after = await truth(oracle, ME)
            assert after != before, table
            beside.bookmark = by.bookmark
            assert await by.all(ME) == after, table
            assert await beside.all(ME) == after, table
        if not paused:
            await by.warm(ME)  # in this session too
        by, beside = beside, by


async def test_who_may_do_nothing_is_refused(service: Service) -> None:
    assert (await service.ask("GET", "/me", "forged"))[0] == 401
    assert (await service.ask("GET", "/users", BOB))[0] == 403
    assert (await service.ask("PATCH", "/menus/1", BOB, json={"name": "x"}))[0] == 403
    assert (await service.ask("PATCH", "/menus/77", ADA, json={"name": "x"}))[0] == 404


async def test_a_right_that_is_given_counts_at_the_next_request(
    service: Service, other: Service
) -> None:
    await other.ask("GET", "/users", BOB)
    await service.ask("PUT", "/users/2/roles", ADA, json=[1])
    other.bookmark = service.bookmark
    status, users = await other.ask("GET", "/users", BOB)
    assert status == 200
    assert [(user["name"], user["roles"]) for user in users] == [
        ("ada", ["role 1"]),
        ("bob", ["role 1"]),
    ]
