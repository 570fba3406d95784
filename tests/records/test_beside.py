"""Leases that are left beside a row, and rows that are kept aside: what both fits do alike."""

from __future__ import annotations

import pytest

from repocache.records import NO_POSITIONS, Change, Lease, OpenReply, Put, Writing
from repocache.records.names import ABSENT, ASIDE, BESIDE, KEEP, VALUE
from tests.records.test_contract import ASK, OWN, TERMS, Fit, change, fill, fit

__all__ = ["fit"]
KEEPING = ASK._replace(keep=5.0)
"""Of a row that has 10 seconds to live: it is one."""
RENEWING = ASK._replace(keep=1e6)
ROW = VALUE + b"old"
NEW = VALUE + b"new"
PUT = ("user", "user:42", "f1")


def name(fit: Fit, opened: OpenReply, mark: str = "") -> str:
    under = opened.incarnation, opened.generation, ASK.fingerprint + mark
    return fit.namespace.prefix(ASK.bucket, *under) + ASK.text


async def beside(fit: Fit) -> tuple[OpenReply, Lease]:
    """A row, and a lease beside it."""
    await fill(fit, value=ROW)
    opened = await fit.records.open(RENEWING, TERMS)
    assert (opened.kind, opened.beside, opened.value) == ("lease", True, ROW)
    assert 0 < opened.left <= 10
    return opened, Lease(RENEWING, opened.incarnation, opened.generation, opened.nonce, beside=True)


def taking(aside: float, position: int | None = NO_POSITIONS) -> Change:
    return change(position)._replace(asides=(("user", aside),))


async def test_a_row_with_time_left_is_one(fit: Fit) -> None:
    await fill(fit, value=ROW)
    assert (await fit.records.open(ASK, TERMS)).value == ROW
    opened = await fit.records.open(KEEPING, TERMS)
    assert (opened.kind, opened.value) == ("value", ROW)
    assert 0 < opened.left <= 10
    assert 0 < await fit.records.left(name(fit, opened)) <= 10
    assert await fit.records.left(name(fit, opened, "none")) < 0


async def test_a_row_stays_while_one_renews_it_and_others_are_told_to_wait(fit: Fit) -> None:
    opened, lease = await beside(fit)
    assert (await fit.records.open(RENEWING, TERMS)).kind == "wait"
    assert (await fit.records.open(ASK, TERMS)).value == ROW
    assert await fit.records.fill(lease, TERMS, NEW, 20.0)
    assert await fit.records.get(name(fit, opened)) == NEW
    assert await fit.records.get(name(fit, opened, BESIDE)) is None
    assert not await fit.records.fill(lease, TERMS, ROW, 20.0)


async def test_that_there_is_no_row_has_no_age(fit: Fit) -> None:
    await fill(fit, value=ABSENT)
    assert (await fit.records.open(RENEWING, TERMS)).kind == "value"


async def test_a_lease_beside_a_row_is_another_s_for_nobody(fit: Fit) -> None:
    opened, lease = await beside(fit)
    assert not await fit.records.fill(lease._replace(nonce="other"), TERMS, NEW, 20.0)
    assert not await fit.records.fill(lease._replace(beside=False), TERMS, NEW, 20.0)
    assert await fit.records.get(name(fit, opened)) == ROW


@pytest.mark.parametrize("aside", [0.0, 60.0])
async def test_an_invalidation_takes_the_lease_along(fit: Fit, aside: float) -> None:
    opened, lease = await beside(fit)
    await fit.records.change(taking(aside), TERMS)
    assert await fit.records.get(name(fit, opened)) is None
    assert not await fit.records.fill(lease, TERMS, NEW, 20.0)
    assert await fit.records.get(name(fit, opened)) is None


async def test_giving_the_lease_back_leaves_the_row(fit: Fit) -> None:
    opened, lease = await beside(fit)
    assert not await fit.records.fill(lease, TERMS, b"", 1.0)
    assert await fit.records.get(name(fit, opened)) == ROW
    assert (await fit.records.open(RENEWING, TERMS)).beside


async def test_what_cannot_be_kept_any_more_takes_the_row_along(fit: Fit) -> None:
    opened, lease = await beside(fit)
    assert not await fit.records.fill(lease, TERMS, b"", 0.0)
    assert await fit.records.get(name(fit, opened)) is None


async def test_a_row_that_is_taken_away_is_kept_aside(fit: Fit) -> None:
    held = await fill(fit, value=ROW)
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.change(taking(3.0), TERMS)
    assert await fit.records.get(name(fit, opened, ASIDE)) == ROW
    assert 0 < await fit.records.left(name(fit, opened, ASIDE)) <= 3
    await fit.records.change(taking(3.0), TERMS)
    assert await fit.records.get(name(fit, opened, ASIDE)) == ROW
    assert held.nonce


async def test_not_for_longer_than_it_would_have_been_there(fit: Fit) -> None:
    await fill(fit, value=ROW)
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.change(taking(1_000.0), TERMS)
    assert 0 < await fit.records.left(name(fit, opened, ASIDE)) <= 10


@pytest.mark.parametrize("value", [ABSENT, None])
async def test_what_is_no_row_is_not(fit: Fit, value: bytes | None) -> None:
    if value is None:
        opened = await fit.records.open(ASK, TERMS)
    else:
        await fill(fit, value=value)
        opened = await fit.records.open(ASK, TERMS)
    await fit.records.change(taking(3.0), TERMS)
    assert await fit.records.get(name(fit, opened, ASIDE)) is None


async def test_a_newer_row_ends_what_is_kept_aside(fit: Fit) -> None:
    await fill(fit, value=ROW)
    opened = await fit.records.open(ASK, TERMS)
    await fit.records.change(taking(60.0), TERMS)
    await fill(fit, KEEPING, NEW)
    assert await fit.records.get(name(fit, opened, ASIDE)) is None
    assert await fit.records.get(name(fit, opened)) == NEW


async def test_so_does_what_a_commit_stores(fit: Fit) -> None:
    await fill(fit, value=ROW)
    opened = await fit.records.open(ASK, TERMS)
    for bucket in (ASK.bucket, OWN):
        state = opened if bucket == ASK.bucket else opened.owner
        assert await fit.records.settle(bucket, TERMS, state.incarnation, 10)
    put = Put(*PUT, opened.incarnation, opened.generation, NEW, 20.0, strict=False)
    stored = await fit.records.change(taking(60.0, 20)._replace(writing=Writing(20, (put,))), TERMS)
    assert stored.landed == 1
    assert await fit.records.get(name(fit, opened)) == NEW
    assert await fit.records.get(name(fit, opened, ASIDE)) is None


async def test_what_a_lease_was_left_beside_gets_a_longer_life(fit: Fit) -> None:
    opened, lease = await beside(fit)
    assert await fit.records.fill(lease, TERMS, KEEP, 20.0)
    assert await fit.records.get(name(fit, opened)) == ROW
    assert 10 < await fit.records.left(name(fit, opened)) <= 20
    assert await fit.records.get(name(fit, opened, BESIDE)) is None
    assert not await fit.records.fill(lease, TERMS, KEEP, 30.0)


async def test_what_an_invalidation_has_taken_away_is_not_kept(fit: Fit) -> None:
    opened, lease = await beside(fit)
    await fit.records.change(change(NO_POSITIONS), TERMS)
    assert not await fit.records.fill(lease, TERMS, KEEP, 20.0)
    assert await fit.records.get(name(fit, opened)) is None


async def test_nothing_is_kept_in_the_place_of_a_lease(fit: Fit) -> None:
    opened = await fit.records.open(ASK, TERMS)
    lease = Lease(ASK, opened.incarnation, opened.generation, opened.nonce)
    assert not await fit.records.fill(lease, TERMS, KEEP, 20.0)
    assert (await fit.records.open(ASK, TERMS)).kind == "wait"


async def test_only_who_holds_the_lease_lengthens_a_life(fit: Fit) -> None:
    opened, lease = await beside(fit)
    await fit.records.fill(lease, TERMS, b"", 1.0)
    again = await fit.records.open(RENEWING, TERMS)
    assert (again.beside, again.nonce != opened.nonce) == (True, True)
    assert not await fit.records.fill(lease, TERMS, KEEP, 20.0)
    assert 0 < await fit.records.left(name(fit, opened)) <= 10
