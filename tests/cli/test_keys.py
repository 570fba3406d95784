"""`repocache keys`: the owner of every key, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from repocache import (
    AlwaysConsistent,
    CacheAside,
    Database,
    LocalOnly,
    Uncached,
    WriteAround,
    WriteThrough,
)
from repocache.cache.policies import Policy
from repocache.pages.policy import PageCache
from repocache.runtime.description import OwnerKind, Tier, pattern_of
from tests.cli.shop_of_all import EVERYTHING
from tests.cli.test_frame import run

NOWHERE = "postgresql+asyncpg://app@127.0.0.1:1/shop"


def database(**given: object) -> Database:
    return Database(
        NOWHERE,
        repositories=EVERYTHING,
        redis="redis://127.0.0.1:1",
        **given,  # type: ignore[arg-type]
    )


def test_every_owner_is_described() -> None:
    db = database(replicas=[NOWHERE.replace(":1/", ":2/")])
    owners = {each.prefix: each for each in db.owners}
    assert set(owners) == {keys.prefix for keys in db._registry.keys} | {"hit"}
    assert len(owners) == len(db.owners), "each once"
    author = owners["author"]
    assert (author.declared, author.key, author.pattern) == (
        "Authors",
        "author:{id: int}",
        "cache-aside",
    )
    assert author.about == "People who write."
    assert author.tiers == tuple(Tier)
    assert owners["author-by_email"].key == "author-by_email:{email: str}"
    assert owners["author-posts"].beside == "author"
    assert owners["author-posts"].tables == ("public.posts",)
    assert owners["post"].follows == ("public.authors",), "ON DELETE CASCADE"
    assert not owners["author-queries"].by_default
    assert owners["post-queries"].by_default
    assert owners["price-loaded"].written_by == "Prices.load"
    assert owners["hit"].kind is OwnerKind.WRITE_BEHIND
    assert owners["tag--posts"].tables == ("public.posts",)


def test_pages_are_described() -> None:
    """What they were made of, and the pages under that."""
    db = database(pages=PageCache(ttl=60, local_ttl=3, stale_while_revalidate=9))
    owners = {each.prefix: each for each in db.owners}
    assert set(owners) == {keys.prefix for keys in db._registry.keys} | {"hit"}
    page, body = owners["page"], owners["page-body"]
    assert page.kind is body.kind is OwnerKind.PAGE
    assert (page.in_figures, page.beside, body.beside) == ("page", "", "page")
    assert page.tiers == body.tiers == (Tier.L1, Tier.REDIS), "no node has pages"
    assert page.times is not None
    assert (page.times.ttl, page.times.local_ttl) == (60, 3)
    assert page.times.stale_while_revalidate == 9
    alone = Database(NOWHERE, pages=PageCache(local_ttl=0))
    assert [each.tiers for each in alone.owners] == [(), ()], "nothing keeps them"


def test_tiers_that_are_not_there_answer_nothing() -> None:
    db = Database(NOWHERE, repositories=[each for each in EVERYTHING if each.owner.prefix != "hit"])
    assert {each.tiers for each in db.owners if each.prefix == "author"} == {
        (Tier.L1, Tier.PRIMARY)
    }


@pytest.mark.parametrize(
    "policy, told",
    [
        (CacheAside(), "cache-aside"),
        (WriteThrough(strict=True), "strict write-through"),
        (WriteAround(fill=False), "write-around, no fill"),
        (LocalOnly(), "local only"),
        (Uncached(), "uncached"),
        (AlwaysConsistent(), "always consistent"),
    ],
)
def test_patterns(policy: Policy, told: str) -> None:
    assert pattern_of(policy) == told


def application(folder: Path, given: str) -> None:
    (folder / "shop_data.py").write_text(
        "from repocache import Database\nfrom tests.cli.shop_of_all import *\n"
        f"db = Database({NOWHERE!r}, redis='redis://127.0.0.1:1', repositories={given})\n"
    )


def test_as_a_command(tmp_path: Path) -> None:
    application(tmp_path, "EVERYTHING")
    done = run(tmp_path, "keys", "shop_data:db")
    assert done.returncode == 0, done.stderr
    assert "14 owners; no two meet" in done.stdout
    assert "…" not in done.stdout, "nothing is cut off"
    told = json.loads(run(tmp_path, "keys", "shop_data:db", "--json").stdout)
    assert len(told["owners"]) == 14
    assert told["owners"][0]["times"]["ttl"] == 300


def test_two_owners_that_meet(tmp_path: Path) -> None:
    application(tmp_path, "[Authors, Posts, type('Others', (Posts,), {})]")
    done = run(tmp_path, "keys", "shop_data:db", "--json")
    assert done.returncode == 1, done.stderr
    [finding] = json.loads(done.stdout)["findings"]
    assert "own the prefix 'post'" in finding
    assert run(tmp_path, "keys", "shop_data:db").returncode == 1
    assert run(tmp_path, "outbox", "shop_data:db").returncode == 2
