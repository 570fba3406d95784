"""Variables that are refused: by name, with what to give, and without what they said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from repocache import Settings, TopologySettings
from repocache.environment.reading import Environment
from repocache.environment.variables import VARIABLES
from repocache.errors import ConfigurationError
from repocache.redis_link import Limits, LinkSettings
from tests.spilled import told

PRIMARY = {"SHOP_PRIMARY": "postgresql://app@db1/shop"}
SECRET = "hunter2Zq"


@pytest.mark.parametrize(
    "variable, text, given",
    [
        ("APP", "shop", Settings(app="shop")),
        ("SECRETS", SECRET * 3, Settings(secrets=(SECRET * 2,))),
        ("MAX_LAG", "20", Settings(topology=TopologySettings(max_lag=5.0))),
        ("REDIS_PULSE", "2", Settings(link=LinkSettings(limits=Limits(pulse=0.5)))),
    ],
)
def test_what_both_say_is_refused(variable: str, text: str, given: Settings) -> None:
    [setting] = [each.setting for each in VARIABLES if each.name == variable]
    said = refusal({f"SHOP_{variable}": text}, given)
    assert f"SHOP_{variable} and Settings.{setting} both say it: leave one of them out" in said


def refusal(variables: Mapping[str, str], settings: Settings | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Environment.read("SHOP_", PRIMARY | dict(variables), settings)
    said = told(caught.value)
    for word in (SECRET, *(each for each in variables.values() if len(each) > 6)):
        assert word not in said.replace(str(caught.value), ""), "in its chain"
    assert SECRET not in said
    return str(caught.value)


@pytest.mark.parametrize(
    "variable, text, remedy",
    [
        (
            "REPLICA",
            "postgresql://app@db2/shop",
            "SHOP_REPLICA is not known; the nearest is SHOP_REPLICAS",
        ),
        ("window", "90", "SHOP_window is not known; the nearest is SHOP_WINDOW"),
        ("POOLSIZE", "3", "the nearest is SHOP_POOL_SIZE"),
        ("", "3", "SHOP_ is not known"),
        ("PORT_80_TCP", "x", "give from_env a prefix of its own"),
        ("REDIS", " ", "SHOP_REDIS is empty"),
        ("SECRETS", "", "SHOP_SECRETS is empty"),
        ("PRIMARY", f"postgresql://ada:{SECRET}@@db1/shop", "SHOP_PRIMARY: not a database URL"),
        (
            "PRIMARY",
            f"mysql://ada:{SECRET}@db1/shop",
            "SHOP_PRIMARY: mysql://db1/shop: no async driver",
        ),
        (
            "PRIMARY",
            f"postgresql://ada:{SECRET}@db1/shop?sslmode=maybe",
            "SHOP_PRIMARY: the URL's option sslmode=maybe: give one of",
        ),
        ("REDIS", f"redis://ada:{SECRET}@cache:x", "SHOP_REDIS: the URL's port has to be a number"),
        ("REDIS", f"http://ada:{SECRET}@cache", "SHOP_REDIS: the URL begins with none of redis"),
        (
            "REPLICAS",
            f"postgresql://ada:{SECRET}@db2/shop,postgresql://db3/shop",
            "whitespace between them",
        ),
        (
            "REPLICAS",
            f"postgresql://ada:{SECRET}@db2/shop, postgresql://db3/shop",
            "whitespace between them",
        ),
        ("REPLICAS", f"postgresql://ada:a {SECRET}@db2/shop", "SHOP_REPLICAS: not a database URL"),
        ("REPLICAS", f"postgresql://ada@db2/shop {SECRET}", "write a space as %20"),
        ("REPLICAS", "weight=2 postgresql://ada@db2/shop", "SHOP_REPLICAS: give URLs"),
        ("REPLICAS", "postgresql://ada@db2/shop wieght=2", "SHOP_REPLICAS: give URLs"),
        (
            "REPLICAS",
            "postgresql://ada@db2/shop weight=0",
            "SHOP_REPLICAS: a weight is more than 0",
        ),
        (
            "REPLICAS",
            "postgresql://ada@db2/shop weight=two",
            "SHOP_REPLICAS: weight: give a number",
        ),
        ("REPLICAS", "postgresql://db2/shop postgresql://db2/shop", "SHOP_REPLICAS: two replicas"),
        ("REPLICAS", "postgresql://db2/shop name=primary", "one is called primary"),
        ("APP", f"redis://:{SECRET}@cache", "SHOP_APP: Settings(app=...): give 1 to 64"),
        ("SECRETS", SECRET, "SHOP_SECRETS: Settings(secrets=...): a secret has at least"),
        ("OUTBOX", SECRET, "SHOP_OUTBOX: give one of auto, required, off"),
        ("OUTBOX_SCHEMA", SECRET * 8, "SHOP_OUTBOX_SCHEMA: Settings: outbox_schema=... is no name"),
        ("OUTBOX_OWNERS", SECRET * 8, "SHOP_OUTBOX_OWNERS: Settings: outbox_owners=... is no name"),
        ("MONOTONIC", "yes", "SHOP_MONOTONIC: give true or false"),
        ("WINDOW", SECRET, "SHOP_WINDOW: give a number and nothing else, as 60 or 0.5"),
        ("WINDOW", "60s", "times are seconds"),
        ("WINDOW", "inf", "SHOP_WINDOW: give a number"),
        ("WINDOW", "nan", "SHOP_WINDOW: give a number"),
        ("WINDOW", "9" * 5000, "SHOP_WINDOW: give a number"),
        ("LOCAL_BYTES", "64MB", "SHOP_LOCAL_BYTES: give a whole number and nothing else"),
        ("LOCAL_BYTES", "1e9", "sizes are bytes"),
        ("LOCAL_BYTES", "0", "SHOP_LOCAL_BYTES: Settings(local_bytes=0): give at least 1"),
        ("POOL_SIZE", "٣", "SHOP_POOL_SIZE: give a whole number"),
        ("CACHE_LEASE", "0", "SHOP_CACHE_LEASE: CacheSettings(lease=0.0): give more than 0"),
        ("REDIS_NAME", "the shop", "SHOP_REDIS_NAME: name=...: Redis takes printable ASCII"),
        ("REDIS_PULSE", "0", "SHOP_REDIS_PULSE: Limits(reply_timeout=1.0, pulse=0.0"),
        (
            "SIGN_VALUES",
            "true",
            "SHOP_SIGN_VALUES: Settings(sign_values=True): give Settings(secrets",
        ),
    ],
)
def test_what_is_wrong_is_named(variable: str, text: str, remedy: str) -> None:
    assert remedy in refusal({f"SHOP_{variable}": text})


def test_without_a_primary() -> None:
    with pytest.raises(ConfigurationError, match="SHOP_PRIMARY is missing: give the primary's URL"):
        Environment.read("SHOP_", {})


def test_two_that_do_not_agree_are_both_named() -> None:
    said = refusal({"SHOP_WINDOW": "30", "SHOP_MAX_LAG": "40", "SHOP_POOL_SIZE": "3"})
    assert said.startswith("SHOP_WINDOW, SHOP_MAX_LAG: Settings(window=30.0): a bookmark must")
    assert "SHOP_POOL_SIZE" not in said


@pytest.mark.parametrize("prefix", ["", "SHOP", "_", "sh op_", "SHOP-"])
def test_a_prefix_that_is_none(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match=r"as in from_env\('SHOP_'\)"):
        Environment.read(prefix, PRIMARY)


def test_settings_that_are_none() -> None:
    given: Any = {"app": "shop"}
    with pytest.raises(ConfigurationError, match=r"from_env\(settings=dict\): give Settings"):
        Environment.read("SHOP_", PRIMARY, given)
