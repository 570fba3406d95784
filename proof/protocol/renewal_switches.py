"""The switches of the rules of renewals, and of what is kept aside; see `switches` and
`models/renewals.py`, whose rules they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

from proof.protocol.switches import _script, _switch
from repocache.bookmark import Bookmark
from repocache.cache import fallback
from repocache.cache.entry import CachedRow, Row, RowRequest
from repocache.cache.freshness import Age
from repocache.cache.inflight import InflightLoad, InflightLoads
from repocache.cache.leases import Leases, Offer
from repocache.cache.loader import ANY_NODE, Loader
from repocache.cache.renewals import Renewals
from repocache.cache.shelf import LocalKey
from repocache.invalidation.batch import Batch
from repocache.publication.publisher import CommitPublisher
from repocache.records import OpenReply


@_switch("renewal's own lease")
def _own_lease() -> Iterator[None]:
    """What was read anew lands whatever lies there."""
    size = "if redis.pcall('STRLEN', held) ~= #ARGV[8] + 1 then return 0 end"
    name = "if redis.call('GET', held) ~= 'L' .. ARGV[8] then return 0 end"
    others = "if held ~= beside and "
    with _script("FILL", *((each, each.replace("if ", others, 1)) for each in (size, name))):
        yield


@_switch("renewal's nonce")
def _nonce() -> Iterator[None]:
    """All leases that are left beside rows are alike."""
    with _script(
        "OPEN",
        ("redis.call('SET', beside, 'L' .. ARGV[10]", "redis.call('SET', beside, 'Lsame'"),
        ("answer('beside', brief, left, ARGV[10])", "answer('beside', brief, left, 'same')"),
    ):
        yield


@_switch("taken along")
def _taken_along() -> Iterator[None]:
    """An invalidation takes the row away, and leaves the lease that was left beside it."""
    with _script("INVALIDATE", ("redis.call('DEL', key, beside)", "redis.call('DEL', key)")):
        yield


def _with_floor(answer: OpenReply, floor: int | None) -> OpenReply:
    return answer._replace(floor=floor, owner=answer.owner._replace(floor=floor))


@_switch("renewal's floor")
def _floor() -> Iterator[None]:
    """A renewal reads any node."""
    original = Loader._request

    def request(
        self: Loader, load: InflightLoad, answer: OpenReply | None, history: str
    ) -> RowRequest | None:
        if answer is not None and answer.beside:
            answer = _with_floor(answer, ANY_NODE)
        return original(self, load, answer, history)

    with patch.object(Loader, "_request", request):
        yield


@_switch("floor of the lease")
def _floor_of_the_lease() -> Iterator[None]:
    """A renewal reads a node that has the floor which the process first heard of."""
    original = Loader._request
    first: dict[tuple[Loader, LocalKey], int | None] = {}

    def request(
        self: Loader, load: InflightLoad, answer: OpenReply | None, history: str
    ) -> RowRequest | None:
        if answer is not None and answer.kind == "lease":
            floor = first.setdefault((self, load.key), answer.needed)
            if answer.beside:
                answer = _with_floor(answer, floor)
        return original(self, load, answer, history)

    with patch.object(Loader, "_request", request):
        yield


@_switch("in place")
def _in_place() -> Iterator[None]:
    """What has not changed is written once more: what was given when the renewal began."""
    age, fill = Renewals.age, Leases.fill
    given: dict[tuple[InflightLoads, LocalKey], Row | None] = {}

    def noted(self: Renewals, asked: InflightLoad, cached: CachedRow, left: float) -> Age:
        given[self._inflight, asked.key] = cached.row
        return age(self, asked, cached, left)

    def written(
        self: Leases, rows: Sequence[tuple[InflightLoad, OpenReply, Row | None]]
    ) -> list[Offer]:
        again: list[tuple[InflightLoad, OpenReply, Row | None]] = []
        for load, answer, row in rows:
            same = load.beside is not None and row is load.beside.row
            old = given.get((self._shared.inflight, load.key), row) if same else row
            again.append((load, answer, old))
        return fill(self, again)

    with patch.object(Renewals, "age", noted), patch.object(Leases, "fill", written):
        yield


@_switch("not the writer")
def _not_the_writer() -> Iterator[None]:
    """Whoever reads while the database is away is given what was taken away."""

    def anybody(_: InflightLoad) -> bool:
        return True

    with patch.object(fallback, "has_not_written", anybody):
        yield


@_switch("as long")
def _as_long() -> Iterator[None]:
    """A bookmark lives as long as any, whatever is kept aside."""

    def usual(_: CommitPublisher, bookmark: Bookmark, __: Batch) -> Any:
        return bookmark

    with patch.object(CommitPublisher, "_lengthened", usual):
        yield


RULES = (
    "renewal's own lease",
    "renewal's nonce",
    "taken along",
    "renewal's floor",
    "floor of the lease",
    "in place",
    "not the writer",
    "as long",
)
"""The names of all of them."""
