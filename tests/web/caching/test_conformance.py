"""Each row of the tables of docs/http.md, run; and the tables are the page's."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from repocache.http import CdnControl, Etag, NoStore, Private, Public, Routes
from repocache.http.caching.cache_status import CacheHit, WentOn, Why, member
from repocache.http.caching.conditional import Absent, ConditionalAnswer, Current, State, answer
from repocache.http.caching.dates import date_text
from repocache.http.caching.directives import cache_control, targeted
from repocache.http.caching.refusals import PAIRS
from repocache.http.caching.vary import variant
from tests.web.caching.rows import CONDITIONAL, DIRECTIVES, PATHS, STATUS, TARGETED, VARIANTS

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text()
WORDS: dict[str, Any] = {
    each.__name__: each for each in (Public, Private, NoStore, CdnControl, CacheHit, WentOn, Why)
}
TIME = re.compile(r"(\d\d):(\d\d):(\d\d)")
SAFE = ("GET", "HEAD")


def made(text: str) -> Any:
    return eval(text, dict(WORDS))


def lines(text: str) -> list[tuple[bytes, bytes]]:
    """Of ` + `-joined header lines; a bare time is a date of that day."""
    found = []
    for line in [] if text == "(none)" else text.split(" + "):
        name, _, value = line.partition(": ")
        clock = TIME.fullmatch(value)
        said = f"Sun, 06 Nov 1994 {value} GMT" if clock else value
        found.append((name.encode(), said.encode()))
    return found


def state_of(text: str) -> tuple[State, int]:
    """The state, and the answer's status."""
    if text == "absent":
        return Absent(), 200
    etag, *more = text.split(", ")
    modified, status = None, 200
    for each in more:
        if clock := TIME.fullmatch(each):
            hour, minute, second = map(int, clock.groups())
            at = datetime(1994, 11, 6, hour, minute, second, tzinfo=UTC)
            modified = int(at.timestamp())
        else:
            status = int(each.removeprefix("answered "))
    return Current(None if etag == "no ETag" else etag.encode(), modified), status


@pytest.mark.parametrize("section, request_text, state_text, expected", CONDITIONAL)
def test_conditional(section: str, request_text: str, state_text: str, expected: str) -> None:
    method, _, rest = request_text.partition(" + ")
    state, status = state_of(state_text)
    found = answer(method, lines(rest) if rest else [], state, status)
    proceeded = str(status) if method in SAFE or status != 200 else "done"
    said = {
        ConditionalAnswer.PROCEED: proceeded,
        ConditionalAnswer.NOT_MODIFIED: "304",
        ConditionalAnswer.PRECONDITION_FAILED: "412",
    }
    assert said[found] == expected


@pytest.mark.parametrize("section, policy, expected", DIRECTIVES)
def test_directives(section: str, policy: str, expected: str) -> None:
    assert cache_control(made(policy)) == expected.encode()
    assert targeted(made(policy)) == ()


@pytest.mark.parametrize("section, control, expected", TARGETED)
def test_targeted(section: str, control: str, expected: str) -> None:
    ((name, value),) = targeted(Public(max_age=5, cdn=made(control)))
    assert name + b": " + value == expected.encode()


@pytest.mark.parametrize("section, path, expected", PATHS)
def test_paths(section: str, path: str, expected: str) -> None:
    routes = Routes({"/products/{id}": Public(max_age=60)})
    scope = {"type": "http", "method": "GET", "path": unquote(path), "raw_path": path.encode()}
    assert routes.of(scope) == (
        Public(max_age=60) if expected == "Public" else Private(no_cache=True)
    )


@pytest.mark.parametrize("section, one, other, expected", VARIANTS)
def test_variants(section: str, one: str, other: str, expected: str) -> None:
    names = ("Accept", "Accept-Language")
    is_same = variant(lines(one), names) == variant(lines(other), names)
    assert is_same == (expected == "same")


@pytest.mark.parametrize("section, told, expected", STATUS)
def test_cache_status(section: str, told: str, expected: str) -> None:
    assert member(made(told)) == expected.encode()


def shown(rows: Sequence[tuple[str, ...]]) -> str:
    """As Markdown has them."""
    return "".join(
        f"| {section} | {' | '.join(f'`{cell}`' for cell in cells)} |\n" for section, *cells in rows
    )


TABLES: dict[str, Sequence[tuple[str, ...]]] = {
    "RFC section | request | stored state | answer": CONDITIONAL,
    "RFC section | policy | `Cache-Control`": DIRECTIVES,
    "RFC section | `cdn=` | line": TARGETED,
    "RFC section | path | policy": PATHS,
    "RFC section | one request | another | variant": VARIANTS,
    "RFC section | told | `Cache-Status`": STATUS,
}


def on_page(page: str, head: str) -> str:
    """The rows of the table with that head."""
    dashes = " | ".join("---" for _ in head.split(" | "))
    found = re.search(
        rf"^\| {re.escape(head)} \|\n\| {re.escape(dashes)} \|\n((?:\|.*\n)+)", page, re.MULTILINE
    )
    assert found, f"docs/http.md has no table: {head}"
    return found[1]


@pytest.mark.parametrize("head", TABLES)
def test_the_page_has_the_rows_as_they_are_run(head: str) -> None:
    assert on_page(PAGE, head) == shown(TABLES[head])


def test_the_page_has_the_contradictions_as_they_are_refused() -> None:
    rows = "".join(f"| `{one}` | `{other}` | {why} |\n" for one, other, why in PAIRS)
    assert on_page(PAGE, "argument | and | why not") == rows


@pytest.mark.parametrize("kind", [Public, CdnControl])
def test_the_page_has_every_argument(kind: type[Any]) -> None:
    """`Private` has fewer, and no other."""
    told = re.findall(
        r"^\| `(\w+)` \| `([^|]+)` \| [^|]{10,} \|$",
        on_page(PAGE, f"`{kind.__name__}(...)` | default | meaning"),
        re.MULTILINE,
    )
    fields = dataclasses.fields(kind)
    assert told == [(each.name, shown_default(each.default)) for each in fields]
    assert {each.name for each in dataclasses.fields(Private)} <= {
        each.name for each in dataclasses.fields(Public)
    }


def shown_default(value: object) -> str:
    return f"Etag.{value.name}" if isinstance(value, Etag) else repr(value)


@pytest.mark.parametrize(
    "before, after",
    [
        ("| `304` |", "| `200` |"),
        ('| 9110 13.1.2 | `GET + If-None-Match: "b"`', "| 9110 13.1.2 | `"),
    ],
)
def test_a_page_that_is_behind_is_seen(before: str, after: str) -> None:
    head = "RFC section | request | stored state | answer"
    assert before in PAGE
    assert on_page(PAGE.replace(before, after, 1), head) != shown(CONDITIONAL)


def test_the_days_text_is_the_sent_form() -> None:
    at = int(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp())
    assert date_text(at) == b"Sun, 06 Nov 1994 08:49:37 GMT"
