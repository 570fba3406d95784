"""One word is one thing: no name that others use has a word that the glossary gives up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "glossary.md"
PACKAGE = ROOT / "repocache"
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def given_up(page: str) -> dict[str, str]:
    """Each single word of the last column, and the term that stands for it."""
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {
        word.strip(): row[0]
        for row in rows[1:]
        if len(row) == 3
        for word in row[2].split(",")
        if re.fullmatch(r"[a-z]+", word.strip())
    }


def names(path: Path, source: str) -> Iterator[str]:
    """Of the module, its classes, and its functions, methods and attributes that others use."""
    yield path.stem
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            yield node.attr


OTHERS_WORDS = {"sentinels.py: epoch", "fastapi.py: get_route_handler"}
"""Words of Sentinel's own protocol, and of FastAPI's."""


def offences(path: Path, source: str, banned: dict[str, str]) -> list[str]:
    return [
        f"{path.name}: {name}: {word} is called {banned[word]} here"
        for name in dict.fromkeys(names(path, source))
        if not name.startswith("_")
        for word in map(str.lower, WORDS.findall(name))
        if word in banned and f"{path.name}: {name}" not in OTHERS_WORDS
    ]


@pytest.mark.parametrize(
    "module", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_names_have_the_glossary_s_words(module: Path) -> None:
    assert offences(module, module.read_text(), given_up(PAGE.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "class FlightQueue: ...",
        "def purge(self): ...",
        "def purge_all(self): ...",
        "class A:\n    def __init__(self):\n        self.watermark = 1",
        "class A:\n    dirty: int",
    ],
)
def test_a_word_that_was_given_up_is_seen(source: str) -> None:
    banned = {"flight": "load", "purge": "evict", "watermark": "bookmark", "dirty": "invalidated"}
    assert len(offences(Path("a.py"), source, banned)) == 1


def test_the_page_gives_words_up() -> None:
    found = given_up(PAGE.read_text())
    assert {"epoch", "watermark", "slave"} <= found.keys()
    terms = [line.split(" | ")[0].strip("| ") for line in PAGE.read_text().splitlines()]
    assert not found.keys() & set(terms), "a word cannot be both"
