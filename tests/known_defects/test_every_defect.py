"""Every defect that was found in the caches for SQLAlchemy and asyncio that people use today is
tested here or named.

0 to 22: of advanced-alchemy 1.12.0; C1 to C16: of cashews 7.6.0. A test says in its docstring which
of them it shows not to be ours, as in "Defect 5: ...". No test can show it of these, for the
feature is not there:

- 6 in part: a process that is killed between COMMIT and the publication tells nobody; until `ttl`
  ends, as documented.
- 8 in part: there are no bind groups. One `Database` is one database; others have an `app` of their
  own.
- 9 in part: lists (`find`, `count`, `exists`) are not cached, and said not to be.
- 14 in part: there is no stale-while-revalidate and there are no tags, and none are documented.
- 16 in part: reads never go back only with `Settings(monotonic=True)`, as documented.
- C5: neither a Redis Cluster nor Sentinel is spoken to, as they do not together with their local
  cache: one master.
- C10 in part: values are not signed, for nothing in them runs; the comparison of signatures is
  itsdangerous' affair.
- C11: there is no HTTP layer, so no ETag that is answered for another URL, before authorisation, or
  with a wrong Age.
- C14: nor an ETag record that outlives the value it was made of.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ALL = {*map(str, range(23)), *(f"C{number}" for number in range(1, 17))}
HERE = Path(__file__).parent


def numbers() -> dict[str, list[str]]:
    """The tests of each defect."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(
                "test_"
            ):
                for number in re.findall(r"Defect (C?\d+):", ast.get_docstring(node) or ""):
                    found.setdefault(number, []).append(node.name)
    return found


def named() -> set[str]:
    """Those that no test can show."""
    return set(re.findall(r"^- (C?\d+):", __doc__ or "", re.MULTILINE))


def test_every_defect_is_tested_or_named() -> None:
    tests = numbers()
    assert tests.keys() | named() == ALL
    assert not tests.keys() & named()
    partly = set(re.findall(r"^- (C?\d+) in part:", __doc__ or "", re.MULTILINE))
    assert partly <= tests.keys()


def test_every_test_says_whose_defect_it_shows() -> None:
    for path in sorted(HERE.glob("test_*.py")):
        if path.name != Path(__file__).name:
            for node in ast.parse(path.read_text()).body:
                if isinstance(
                    node, ast.FunctionDef | ast.AsyncFunctionDef
                ) and node.name.startswith("test_"):
                    assert re.match(r"Defect C?\d+: ", ast.get_docstring(node) or ""), (
                        f"{path.name}: {node.name}"
                    )
