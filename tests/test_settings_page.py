"""docs/settings.md has every setting, with its type and default, as the code has them."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from repocache import Database, EngineSettings, Replica, Repository, Settings
from repocache.cache.policies import Policy
from repocache.environment.variables import ADDRESSES, VARIABLES

PAGE = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n)*)", re.MULTILINE)
ROW = re.compile(r"^\| `([\w.()]+)` \| (.*) \|$", re.MULTILINE)
CELL = re.compile(r"(?<!\\) \| ")
CODE = re.compile(r"`([^`]+)`")
CALLED = {"Database": Database, "Repository": Repository}


def within(value: Any) -> Iterator[Any]:
    """The class of a settings value, and those of the values in it."""
    yield type(value)
    for each in dataclasses.fields(value):
        if dataclasses.is_dataclass(inner := getattr(value, each.name)):
            yield from within(inner)


def documented() -> dict[str, Any]:
    """All classes of values that a user makes to say how a database behaves."""
    policies = [each for each in Policy.__subclasses__() if each.__module__.startswith("repocache")]
    found = [*within(Settings()), EngineSettings, Replica, *policies]
    return {each.__name__: each for each in found}


def sections(page: str) -> dict[str, list[tuple[str, list[str]]]]:
    """The rows of each heading's tables: their first word, and the other cells."""
    return {
        title.strip("`"): [(name, CELL.split(rest)) for name, rest in ROW.findall(text)]
        for title, text in SECTION.findall(page)
    }


def shown(value: object) -> str:
    """A default as the page writes it."""
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, int | float | str | tuple | dict | None):
        return repr(value)
    return f"{type(value).__name__}()"


def fields_of(kind: Any) -> list[tuple[str, str, str]]:
    """Name, type and default of each field."""
    found = []
    for each in filter(lambda field: field.init, dataclasses.fields(kind)):
        made = each.default_factory
        default = each.default if made is dataclasses.MISSING else made()
        said = "required" if default is dataclasses.MISSING else shown(default)
        found.append((each.name, str(each.type), said))
    return found


def told_of(rows: list[tuple[str, list[str]]]) -> list[tuple[str, str, str]]:
    """What the page has of them."""
    return [
        (name, CODE.findall(kind)[0].replace("\\|", "|"), (CODE.findall(default) or [default])[0])
        for name, (kind, default, *_) in rows
    ]


def limit(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def argument(path: str) -> object:
    owner, method, name = re.fullmatch(r"(\w+)\.(\w+)\((\w+)\)", path).groups()  # type: ignore[union-attr]
    return inspect.signature(getattr(CALLED[owner], method)).parameters[name].default


def differences(page: str) -> list[str]:
    """What the page has otherwise than the code."""
    found, on_page = [], sections(page)
    for name, kind in documented().items():
        if told_of(on_page.get(name, [])) != fields_of(kind):
            found.append(name)
    variables = [
        (each.name, f"`{each.setting}`") for each in VARIABLES
    ]  # the addresses' table comes first, and has no settings
    told = [(name, cells[0]) for name, cells in on_page["Environment variables"]]
    if [name for name, _ in told[: len(ADDRESSES)]] != list(ADDRESSES):
        found.append("addresses")
    if told[len(ADDRESSES) :] != variables:
        found.append("variables")
    for title, value_of in (("Limits that are fixed", limit), ("Arguments of calls", argument)):
        rows = on_page.get(title, [])
        found += [name for name, cells in rows if cells[0] != f"`{value_of(name)!r}`"]
        if not rows:
            found.append(title)
    return found


def test_the_page_is_as_the_code_is() -> None:
    assert differences(PAGE) == []


def test_each_setting_says_what_it_bounds_and_when_to_change_it() -> None:
    for name in documented():
        for setting, cells in sections(PAGE)[name]:
            assert len(cells) == 4, setting
            is_part = cells[2].endswith("below") or setting == "url"
            assert all(cells) or is_part, setting


def test_the_variables_texts_are_told() -> None:
    """The names of an enumeration's members, as they are written in a variable."""
    told = {name: cells[1] for name, cells in sections(PAGE)["Environment variables"][3:]}
    usual = Settings()
    for each in VARIABLES:
        value: Any = usual
        for part in each.setting.split("."):
            value = getattr(value, part)
        if isinstance(value, Enum):
            members = [str(member.value) for member in type(value)]
            assert CODE.findall(told[each.name]) == members
        elif isinstance(value, bool):
            assert CODE.findall(told[each.name]) == ["true", "false"]
        else:
            assert not CODE.findall(told[each.name])


@pytest.mark.parametrize(
    "before, after, seen",
    [
        ("| `60.0` |", "| `61.0` |", "Settings"),
        ("| `float`, seconds | `1.0` | how long a c", "| `int` | `1.0` | how long a c", "Settings"),
        ("| `max_value` |", "| `max_values` |", "CacheSettings"),
        ("| `CacheMode.ON` |", "| `CacheMode.OFF` |", "CacheSettings"),
        ("| `weight` |", "| weight |", "Replica"),
        ("## `WriteThrough`", "## WriteThroughs", "WriteThrough"),
        ("| `SECRETS` | `secrets` |", "| `SECRETS` | `secret` |", "variables"),
        ("| `POOL_SIZE` |", "| POOL_SIZE |", "variables"),
        ("| `REPLICAS` |", "| `REPLICA` |", "addresses"),
        ("| `5.0` | seconds that leaving", "| `6.0` | x", "repocache.nodes.topology.GRACE"),
        ("| `1000` | values", "| `100` | values", "Database.verify(samples)"),
    ],
)
def test_a_page_that_is_behind_is_seen(before: str, after: str, seen: str) -> None:
    assert before in PAGE
    assert differences(PAGE.replace(before, after, 1)) == [seen]
