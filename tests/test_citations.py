"""What comments cite is there: sections and steps of the protocol, and what broke earlier
drafts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROTOCOL = ROOT / "docs" / "protocol.md"
RULES = ROOT / "docs" / "rules.md"
SOURCES = sorted(
    path
    for room in ("repocache", "tests", "proof", "models")
    for path in (ROOT / room).rglob("*.py")
    if path != Path(__file__)
)
CITED = re.compile(
    r"\(protocol, (?:\"(?P<rule>[a-z ]+)\"|(?P<section>[A-Z][a-z]+(?:[ -][a-zA-Z][a-z]*)*)"
    r"(?: (?P<first>\d)(?: (?:to|and) (?P<last>\d))?)?)"
)
DRAFT = re.compile(r"what broke earlier drafts, (?P<number>\d+)")


def flat(text: str) -> str:
    """Without the breaks of lines, in comments too."""
    return re.sub(r"\s*\n\s*(?:#:? |-- )?\s*", " ", text)


def sections(page: str) -> dict[str, str]:
    """The text under each heading."""
    parts = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def unresolved(source: str, page: str, rules: str) -> Iterator[str]:
    """Citations that lead nowhere."""
    known = sections(page)
    for cited in CITED.finditer(flat(source)):
        if cited["rule"] is not None:
            if f"`{cited['rule']}`" not in rules:
                yield cited[0]
            continue
        section = next((each for each in known if cited["section"].startswith(each)), None)
        if section is None:
            yield cited[0]
            continue
        for step in filter(None, (cited["first"], cited["last"])):
            if not re.search(rf"^{step}\. ", known[section], re.MULTILINE):
                yield cited[0]
    broken = sections(rules)["What broke earlier drafts"]
    for cited in DRAFT.finditer(flat(source)):
        if not re.search(rf"(?:^|\D){cited['number']}\b", broken):
            yield cited[0]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_citation_resolves(source: Path) -> None:
    text, page, rules = source.read_text(), PROTOCOL.read_text(), RULES.read_text()
    assert list(unresolved(text, page, rules)) == []


@pytest.mark.parametrize(
    "text",
    [
        "(protocol, Read path 9)",
        "(protocol, The moon)",
        "(protocol, Write\n    path 7)",
        '(protocol, "never heard of")',
        "what broke earlier drafts, 99",
    ],
)
def test_one_that_leads_nowhere_is_seen(text: str) -> None:
    assert len(list(unresolved(text, PROTOCOL.read_text(), RULES.read_text()))) == 1


def test_there_are_some() -> None:
    assert sum(len(CITED.findall(flat(source.read_text()))) for source in SOURCES) > 40
