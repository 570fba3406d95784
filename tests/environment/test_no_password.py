"""Whatever stands in a variable: it is read, or refused by its name, and no password comes out."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from repocache.environment.reading import Environment
from repocache.environment.variables import ADDRESSES, VARIABLES
from repocache.errors import ConfigurationError
from tests.spilled import told
from tests.test_urls import DATABASES, PASSWORDS, REDIS, TOKEN

PRIMARY = "postgresql://app@db1/shop"
NAMES = (*ADDRESSES, *(each.name for each in VARIABLES))
VISIBLE = {"APP", "OUTBOX_SCHEMA", "OUTBOX_OWNERS", "REDIS_NAME"}
"""Whose values are names that anybody may see, once they are taken."""


def outcome(name: str, text: str) -> str:
    """What comes out of an environment with this text in this variable."""
    try:
        found = Environment.read("SHOP_", {"SHOP_PRIMARY": PRIMARY, f"SHOP_{name}": text})
    except ConfigurationError as error:
        return f"{error}\n{told(error)}"
    return "" if name in VISIBLE else f"{found!r} {found.settings!r} {found.redis}"


@given(st.sampled_from(NAMES), st.sampled_from((*DATABASES, *REDIS, "{}")), PASSWORDS)
@example("REPLICAS", "postgresql://ada:{}@db1/shop", f"a {TOKEN}")
@example("REPLICAS", "postgresql://ada:{}@db1/shop", f"://{TOKEN}")
@example("REPLICAS", "postgresql://ada:{}@db1/shop", f"weight=1 name={TOKEN} ")
@example("APP", "{}", f"{TOKEN} '")
@example("OUTBOX_OWNERS", "{}", TOKEN * 9)
@example("SECRETS", "{}", TOKEN)
def test_no_password_comes_out(name: str, template: str, password: str) -> None:
    for written in (password, quote(password, safe="")):
        text = template.format(written)
        assert TOKEN not in outcome(name, text), text


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20)
@given(text=st.text(max_size=12))
def test_any_text_is_a_value_or_a_refusal_of_that_name(name: str, text: str) -> None:
    said = outcome(name, text)
    assert "Error" not in said or said.startswith(f"SHOP_{name}")
