"""Imports point down, parts of one floor do not see each other, and nothing hides that it is
otherwise."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "repocache"
MODULES = sorted(PACKAGE.rglob("*.py"))
FACADE = PACKAGE / "__init__.py"
FLOORS = [
    {"errors", "history"},
    {"scope"},
    {"keys", "events", "bookmark", "redaction"},
    {"background", "codec", "engines", "observers", "signing", "tags"},
    {"redis_link"},
    {"records"},
    {"nodes", "transactions", "cache", "invalidation", "subjects"},
    {"routing", "mapping", "edges"},
    {"queries"},
    {"publication", "tracking", "verification"},
    {"repository", "settings"},
    {"behind", "computed", "pages"},
    {"runtime", "environment"},
    {"database", "doctor", "layering"},
    {"testing", "alembic_ops", "http", "fastapi"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
HEIGHT = {part: height for height, parts in enumerate(FLOORS) for part in parts}
LONGEST = 400
CONTEXT_OWNER = "routing/around.py"
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve"}


PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def test_the_page_has_the_floors_as_they_are() -> None:
    rows = re.findall(r"^\| (\d+) \| ((?:`\w+` ?)+)\|", PAGE.read_text(), re.MULTILINE)
    told = {int(height): set(re.findall(r"`(\w+)`", parts)) for height, parts in rows}
    assert told == dict(enumerate(FLOORS[:-1])), "all but __main__"


def test_no_class_has_another_one_s_name() -> None:
    """A private one may: it is its file's own."""
    made = Counter(
        node.name
        for module in MODULES
        for node in ast.parse(module.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in made.items() if count > 1]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and absolute name of every import; a relative one keeps its dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def upward_imports(path: str, tree: ast.Module) -> Iterator[str]:
    part = path.partition("/")[0].removesuffix(".py")
    if part == "__init__":
        return
    if part not in HEIGHT:
        yield f"{path}: give {part} a floor"
        return
    for line, name in imports(tree):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if not package:
            yield f"{path}:{line}: relative import"
        elif package != "repocache" or target == part:
            continue
        elif target not in HEIGHT:
            yield f"{path}:{line}: {part} imports {name}, which has no floor"
        elif HEIGHT[target] >= HEIGHT[part]:
            yield f"{path}:{line}: {part} imports {target}, which is not below it"


def hidden_imports(path: str, tree: ast.Module) -> Iterator[str]:
    at_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in at_top:
            yield f"{path}:{node.lineno}: an import is not at the top of the module"
        elif isinstance(node, ast.alias) and node.name == "TYPE_CHECKING":
            yield f"{path}:{node.lineno}: imports TYPE_CHECKING"
        elif isinstance(node, ast.Attribute) and node.attr == "TYPE_CHECKING":
            yield f"{path}:{node.lineno}: uses TYPE_CHECKING"
        elif isinstance(node, ast.Name | ast.Attribute) and name_of(node) in {
            "__import__",
            "import_module",
        }:
            yield f"{path}:{node.lineno}: imports by a computed name"


def name_of(node: ast.expr) -> str:
    """The last word of `a.b.c`, of `a.b.c[T]` and of `c`."""
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def context_variables(path: str, tree: ast.Module) -> Iterator[str]:
    made = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and name_of(node.func) == "ContextVar"
    ]
    for line in made[1:] if path == CONTEXT_OWNER else made:
        yield f"{path}:{line}: the only context variable is that of {CONTEXT_OWNER}"


def pickling(path: str, tree: ast.Module) -> Iterator[str]:
    for line, name in imports(tree):
        if name.partition(".")[0] in PICKLES:
            yield f"{path}:{line}: imports {name}"


def offences(path: str, source: str) -> list[str]:
    """What is wrong with the module at `path` (relative to the package)."""
    tree = ast.parse(source)
    found = [
        line
        for rule in (upward_imports, hidden_imports, context_variables, pickling)
        for line in rule(path, tree)
    ]
    lines = len(source.splitlines())
    return found if lines <= LONGEST else [*found, f"{path}: {lines} lines, more than {LONGEST}"]


@pytest.mark.parametrize(
    "module", MODULES, ids=lambda module: module.relative_to(PACKAGE).as_posix()
)
def test_the_module_keeps_the_rules(module: Path) -> None:
    assert offences(module.relative_to(PACKAGE).as_posix(), module.read_text()) == []


@pytest.mark.parametrize(
    "path, source",
    [
        ("cache/store.py", "from repocache.routing.routing import Route"),
        ("cache/store.py", "import repocache.database"),
        ("cache/store.py", "from repocache import database"),
        ("keys.py", "from repocache.events import Event"),
        ("cli/map.py", "from repocache import Database"),
        ("keys.py", "import repocache"),
        ("cache/store.py", "from .entry import Entry"),
        ("cache/store.py", "from . import entry"),
        ("utils.py", ""),
        ("database.py", "def start():\n    import json"),
        ("database.py", "try:\n    import json\nexcept ImportError:\n    pass"),
        ("database.py", "from typing import TYPE_CHECKING"),
        ("database.py", "import typing\nif typing.TYPE_CHECKING:\n    pass"),
        ("database.py", "import importlib\nimportlib.import_module('json')"),
        ("database.py", "from contextvars import ContextVar\nnow = ContextVar('now')"),
        ("database.py", "import contextvars\nnow = contextvars.ContextVar[int]('now')"),
        (
            CONTEXT_OWNER,
            "from contextvars import ContextVar\na = ContextVar('a')\nb = ContextVar('b')",
        ),
        ("codec/row.py", "import pickle"),
        ("codec/row.py", "from pickle import loads"),
        ("database.py", "\n" * (LONGEST + 1)),
    ],
)
def test_a_broken_rule_is_seen(path: str, source: str) -> None:
    assert len(offences(path, source)) == 1


@pytest.mark.parametrize(
    "path, source",
    [
        (
            "cache/tiered.py",
            "from repocache.cache.entry import Entry\nfrom repocache.keys import Keys",
        ),
        ("__init__.py", "from repocache.database import Database"),
        (
            CONTEXT_OWNER,
            "from contextvars import ContextVar\nroute: ContextVar[str] = ContextVar('route')",
        ),
        (
            "database.py",
            "from contextvars import ContextVar\n\ndef read(route: ContextVar[str]) -> None: ...",
        ),
    ],
)
def test_a_kept_rule_is_left_alone(path: str, source: str) -> None:
    assert offences(path, source) == []
