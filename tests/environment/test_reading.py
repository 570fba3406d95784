"""Variables to values: no server, no event loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import FrozenInstanceError
from operator import attrgetter
from typing import Any

import pytest

from repocache import CacheMode, CacheSettings, OutboxMode, Settings, TopologySettings
from repocache.environment.reading import Environment
from repocache.environment.variables import VARIABLES
from repocache.redis_link import Address, Limits, LinkSettings

PRIMARY = {"SHOP_PRIMARY": "postgresql://app@db1/shop"}
SECRET = "hunter2Zq"
NEWEST, OLDER = "the newest of our secrets", "an older one of them all"


def read(variables: Mapping[str, str], settings: Settings | None = None) -> Environment:
    return Environment.read("SHOP_", PRIMARY | dict(variables), settings)


def test_one_variable_is_enough() -> None:
    found = Environment.read("SHOP_", {**PRIMARY, "PATH": "/bin", "OTHER_PRIMARY": "x"})
    assert found.primary.render_as_string() == "postgresql+asyncpg://app@db1/shop"
    assert (found.replicas, found.redis) == ((), None)
    assert found.settings.topology == TopologySettings()
    with pytest.raises(FrozenInstanceError):
        found.redis = None  # type: ignore[misc]


def test_addresses() -> None:
    found = read(
        {
            "SHOP_REPLICAS": """
                postgresql://app@db2:5433/shop?options=-c%20jit%3Doff  weight=2.5 name=near
                postgresql://app:a%20b@db3/shop
            """,
            "SHOP_REDIS": f"rediss://ada:{SECRET}@cache/3\n",
        }
    )
    assert [(each.name, each.weight) for each in found.replicas] == [("near", 2.5), ("db3", 1.0)]
    first, second = (each.url for each in found.replicas)
    assert attrgetter("host", "port", "query")(first) == ("db2", 5433, {"options": "-c jit=off"})
    assert attrgetter("password")(second) == "a b"
    assert found.redis is not None
    assert (str(found.redis), found.redis.password) == ("rediss://cache:6379/3", SECRET)
    assert SECRET not in repr(found)


def test_settings_of_all_kinds() -> None:
    found = read(
        {
            "SHOP_APP": "shop",
            "SHOP_SECRETS": "the-newest-of-secrets\n an-older-secret-than-it\n",
            "SHOP_SIGN_VALUES": "true",
            "SHOP_MONOTONIC": "false",
            "SHOP_OUTBOX": "required",
            "SHOP_OUTBOX_OWNERS": "one two",
            "SHOP_WINDOW": "90.5",
            "SHOP_LOCAL_BYTES": "1048576",
            "SHOP_MAX_LAG": "20",
            "SHOP_MAX_LAG_BYTES": "0",
            "SHOP_CACHE_MODE": "shadow",
            "SHOP_REDIS_NAME": "shop",
            "SHOP_REDIS_PULSE": "2",
        }
    ).settings
    assert found == Settings(
        app="shop",
        secrets=("the-newest-of-secrets", "an-older-secret-than-it"),
        sign_values=True,
        outbox=OutboxMode.REQUIRED,
        outbox_owners=("one", "two"),
        window=90.5,
        local_bytes=1048576,
        topology=TopologySettings(max_lag=20.0, max_lag_bytes=0),
        cache=CacheSettings(mode=CacheMode.SHADOW),
        link=LinkSettings(name="shop", limits=Limits(pulse=2.0)),
        observe=found.observe,
    )


TEXTS: dict[type, str] = {bool: "true", int: "7", float: "7.5", tuple: NEWEST.replace(" ", "-")}
OTHERS = {
    "APP": "shop",
    "OUTBOX": "off",
    "OUTBOX_SCHEMA": "shop",
    "CACHE_MODE": "off",
    "REDIS_NAME": "shop",
    "MAX_LAG_BYTES": "7",
    "WINDOW": "77.5",
    "SAMPLE_EVERY": "0.5",
    "PROBE_TIMEOUT": "2.5",
    "REDIS_PULSE": "2.5",
    "REDIS_REPLY_TIMEOUT": "2.5",
}
NEEDS = {"SHOP_SECRETS": NEWEST.replace(" ", "-")}


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda each: each.name)
def test_each_changes_its_setting_and_no_other(variable: Any) -> None:
    usual = attrgetter(variable.setting)(Settings())
    text = OTHERS.get(variable.name) or TEXTS[type(usual)]
    before, name = read(NEEDS).settings, f"SHOP_{variable.name}"
    after = read(NEEDS | {name: text}).settings
    differing = {
        each.name
        for each in VARIABLES
        if attrgetter(each.setting)(after) != attrgetter(each.setting)(before)
    }
    assert differing == ({variable.name} if name not in NEEDS else set())
    assert attrgetter(variable.setting)(after) != usual


def test_what_the_program_says_stays() -> None:
    given = Settings(app="shop", topology=TopologySettings(max_lag=5.0), secrets=(NEWEST, OLDER))
    found = read({"SHOP_WINDOW": "90", "SHOP_POOL_SIZE": "3"}, given).settings
    assert (found.app, found.window, found.secrets) == ("shop", 90.0, (NEWEST, OLDER))
    assert found.topology == TopologySettings(max_lag=5.0, pool_size=3)
    assert found.observe is given.observe


def test_the_default_prefix_leaves_the_test_kit_its_variables() -> None:
    variables = {"REPOCACHE_PRIMARY": PRIMARY["SHOP_PRIMARY"], "REPOCACHE_TEST_REDIS_BIN": "x"}
    assert Environment.read("REPOCACHE_", variables).primary.host == "db1"


def test_a_redis_of_sentinels() -> None:
    found = read({"SHOP_REDIS": "redis+sentinel://a,b:1/main"}).redis
    assert found == Address.parse("redis+sentinel://a,b:1/main")
