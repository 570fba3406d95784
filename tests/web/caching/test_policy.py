"""What a policy says, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from repocache import ConfigurationError
from repocache.http import CdnControl, Etag, NoStore, Private, Public
from repocache.http.caching.directives import cache_control, targeted
from repocache.http.caching.refusals import PAIRS, YEAR

KINDS = (Public, Private)
VALUES = {"max_age": 1, "s_maxage": 1, "stale_while_revalidate": 1, "stale_if_error": 0}


def made(kind: Any, **given: Any) -> Any:
    return kind(**{"max_age": 60, **given})


def has(kind: Any, name: str) -> bool:
    return name in kind.__dataclass_fields__


@pytest.mark.parametrize("kind", [*KINDS, CdnControl])
@pytest.mark.parametrize("one, other, why", PAIRS)
def test_what_contradicts_itself(kind: Any, one: str, other: str, why: str) -> None:
    if not (has(kind, one) and has(kind, other)):
        with pytest.raises(TypeError):
            kind(**{one: True, other: VALUES.get(other, True)})
        return
    given = {one: True, other: VALUES.get(other, True)}
    if "max_age" not in given and "no_" not in one:
        given["max_age"] = 5
    with pytest.raises(ConfigurationError, match=why) as error:
        kind(**given)
    assert {one, other} <= set(str(error.value).replace("=", " ").replace("(", " ").split())
    del given[one]
    if has(kind, "no_cache") and given.get("max_age") is None and "no_cache" not in given:
        given["max_age"] = 5
    kind(**given)


@pytest.mark.parametrize("kind", [*KINDS, CdnControl])
@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("value", [-1, YEAR + 1, True, False, 1.0, "60", float("nan"), 10**30])
def test_times_are_whole_seconds(kind: Any, name: str, value: Any) -> None:
    if has(kind, name):
        with pytest.raises(ConfigurationError, match=rf"\({name}="):
            made(kind, **{name: value})
        made(kind, **{name: 0})
        made(kind, **{name: YEAR})


@pytest.mark.parametrize("kind", [*KINDS, CdnControl])
@pytest.mark.parametrize("value", [1, 0, None, "yes"])
def test_flags_are_flags(kind: Any, value: Any) -> None:
    for name in ("no_cache", "must_revalidate", "proxy_revalidate", "immutable", "no_store"):
        if has(kind, name):
            with pytest.raises(ConfigurationError, match=rf"\({name}=.*True or False"):
                made(kind, **{name: value})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("argument", ["vary", "sees"])
@pytest.mark.parametrize(
    "names",
    [
        "Accept",
        ["Accept"],
        ("Accept", "accept"),
        ("*",),
        ("Accept Language",),
        ("",),
        (7,),
        (b"accept",),
        ("Accept\r\nX: 1",),
        ("Accept\n",),
        ("Äccept",),
        None,
    ],
)
def test_headers_are_headers(kind: Any, argument: str, names: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"\({argument}="):
        made(kind, **{argument: names})


@pytest.mark.parametrize("name", ["If-None-Match", "if-range", "RANGE"])
def test_a_precondition_chooses_no_representation(name: str) -> None:
    with pytest.raises(ConfigurationError, match="leave it out"):
        made(Private, vary=(name,))
    made(Private, sees=(name,))


@pytest.mark.parametrize("name", ["Cookie", "authorization"])
def test_who_asks_makes_an_answer_private(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Private\(\.\.\.\)"):
        made(Public, vary=(name,))
    made(Private, vary=(name,))
    made(Public, sees=(name,))


SEEN = ("scope:client", "scope:user", "scope:auth", "scope:session", "scope:state.tenantId")


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_the_scope_may_be_seen(kind: Any) -> None:
    assert made(kind, sees=SEEN).sees == SEEN
    made(kind, sees=("scope:state.id", "scope:state.ID"))
    with pytest.raises(ConfigurationError, match="there twice"):
        made(kind, sees=("scope:client", "scope:client"))
    with pytest.raises(ConfigurationError, match="name of a header"):
        made(kind, vary=("scope:client",))


@pytest.mark.parametrize(
    "name",
    ["scope:", "scope:path", "scope:state", "scope:state.", "scope:client ", "scope:headers"],
)
def test_what_nobody_watches_is_not_seen(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\(sees=.*'scope:state.tenant' for request"):
        made(Public, sees=(name,))


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_is_not_in_both(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="does depend on it"):
        made(kind, vary=("Accept",), sees=("accept",))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "given",
    [
        {"tags": "home"},
        {"tags": ("",)},
        {"tags": (7,)},
        {"tags": ([],)},
        {"tags": ("a" * 129,)},
        {"tags": ("a", "a")},
        {"scopes": "tenant"},
        {"scopes": ("ten ant",)},
        {"scopes": (None,)},
        {"scopes": ("a", "a")},
        {"etag": "body"},
        {"etag": None},
    ],
)
def test_tags_scopes_and_etags(kind: Any, given: dict[str, Any]) -> None:
    (name,) = given
    with pytest.raises(ConfigurationError, match=rf"\({name}="):
        made(kind, **given)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_would_guess(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="guess"):
        kind()
    with pytest.raises(ConfigurationError, match="guess"):
        kind(stale_if_error=5)


def test_a_browser_would_guess_beside_s_maxage() -> None:
    with pytest.raises(ConfigurationError, match="s_maxage"):
        Public(s_maxage=60)
    with pytest.raises(ConfigurationError, match="guess"):
        Public(cdn=CdnControl(max_age=60))


@pytest.mark.parametrize("kind", KINDS)
def test_immutable_counts_while_it_is_fresh(kind: Any) -> None:
    for given in ({}, {"max_age": 0}):
        with pytest.raises(ConfigurationError, match=r"immutable=True.*max_age"):
            kind(immutable=True, **given)


@pytest.mark.parametrize(
    "name", ["Cache-Control", "CDN-Cache", "Surrogate-Control", "a b-cache-control", 7, "*"]
)
def test_a_targeted_field_is_called_so(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"CdnControl\(name="):
        CdnControl(max_age=1, name=name)


def test_an_empty_targeted_field_is_ignored_by_caches() -> None:
    with pytest.raises(ConfigurationError, match="an empty field is ignored"):
        CdnControl()
    with pytest.raises(ConfigurationError, match="an empty field is ignored"):
        CdnControl(must_revalidate=True)


def test_a_cdn_is_told_by_a_value_and_of_public_answers() -> None:
    with pytest.raises(ConfigurationError, match=r"Public\(cdn="):
        Public(max_age=1, cdn="CDN-Cache-Control: max-age=1")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Private(max_age=1, cdn=CdnControl(max_age=1))  # type: ignore[call-arg]


def test_all_of_it_in_its_order() -> None:
    whole = Public(
        max_age=1,
        s_maxage=2,
        stale_while_revalidate=3,
        stale_if_error=4,
        immutable=True,
        cdn=CdnControl(max_age=5, must_revalidate=True),
    )
    assert cache_control(whole) == (
        b"public, max-age=1, s-maxage=2, immutable, stale-while-revalidate=3, stale-if-error=4"
    )
    assert targeted(whole) == ((b"cdn-cache-control", b"max-age=5, must-revalidate"),)


def test_policies_are_values() -> None:
    assert Public(max_age=1) == Public(max_age=1)
    assert len({Public(max_age=1), Public(max_age=1), Private(max_age=1), NoStore()}) == 3
    with pytest.raises(AttributeError):
        Private(max_age=1).max_age = 2  # type: ignore[misc]
    assert (NoStore().etag, NoStore().vary, NoStore().cdn) == (Etag.NONE, (), None)
