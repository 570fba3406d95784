"""The measures of the house: sizes, words and docs of the package, as a table.
`python3 dev.py house`."""

from __future__ import annotations

import ast
import statistics
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "repocache"
WIDTH = 100
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    return (each for each in ast.walk(tree) if isinstance(each, Function))


def length(function: Function) -> int:
    """Lines, without the docstring."""
    body = function.body
    first = body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    skipped = first.end_lineno - first.lineno + 1 if told and first.end_lineno else 0
    return (function.end_lineno or 0) - function.lineno + 1 - skipped


def parameters(function: Function) -> int:
    """Those that may be given by place."""
    given = [*function.args.posonlyargs, *function.args.args]
    return len([each for each in given if each.arg not in ("self", "cls")])


def documented(tree: ast.AST) -> int:
    """Lines of docstrings, of attributes too."""
    return sum(
        (each.end_lineno or 0) - each.lineno + 1
        for each in ast.walk(tree)
        if isinstance(each, ast.Expr)
        and isinstance(each.value, ast.Constant)
        and isinstance(each.value.value, str)
    )


def commented(path: Path) -> int:
    with path.open("rb") as file:
        return sum(token.type == tokenize.COMMENT for token in tokenize.tokenize(file.readline))


def measured(package: Path) -> dict[str, str]:
    """By what is measured."""
    paths = sorted(package.rglob("*.py"))
    texts = {path: path.read_text().splitlines() for path in paths}
    trees = {path: ast.parse(path.read_text()) for path in paths}
    sizes = [len(lines) for lines in texts.values()]
    lengths = sorted(length(each) for tree in trees.values() for each in functions(tree))
    wide = sum(len(line) > WIDTH for lines in texts.values() for line in lines)
    many = sum(parameters(each) > 8 for tree in trees.values() for each in functions(tree))
    classes = Counter(
        node.name for tree in trees.values() for node in tree.body if isinstance(node, ast.ClassDef)
    )
    twice = sorted(
        name for name, count in classes.items() if count > 1 and not name.startswith("_")
    )
    lines = sum(sizes)
    return {
        "files / lines": f"{len(paths)} / {lines:,}",
        "median / largest file": f"{statistics.median(sizes):.0f} / {max(sizes)}",
        "function lines, p95 / longest": f"{lengths[len(lengths) * 95 // 100]} / {lengths[-1]}",
        "more than 8 positional parameters": f"{many} of {len(lengths):,}",
        "comments / docstrings, % of lines": (
            f"{100 * sum(map(commented, paths)) / lines:.1f} / "
            f"{100 * sum(map(documented, trees.values())) / lines:.1f}"
        ),
        f"lines of more than {WIDTH} characters": str(wide),
        "public class names used twice": ", ".join(twice) or "none",
    }


def main() -> None:
    print("| | |")
    print("| --- | --- |")
    for name, value in measured(PACKAGE).items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
