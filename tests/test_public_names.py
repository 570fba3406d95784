"""The names at the root: few, sorted, complete and explained."""

import importlib
import inspect
from types import ModuleType

import pytest

repocache = importlib.import_module("repocache")
MOST = 46


def test_they_are_sorted_and_said_once() -> None:
    assert repocache.__all__ == sorted(set(repocache.__all__))


def test_they_are_few() -> None:
    assert len(repocache.__all__) <= MOST


def test_they_are_complete() -> None:
    visible = {
        name
        for name, value in vars(repocache).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert visible == set(repocache.__all__)


@pytest.mark.parametrize("name", repocache.__all__)
def test_it_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(repocache, name)
    explained = value if inspect.isclass(value) or inspect.isroutine(value) else type(value)
    doc = vars(explained).get("__doc__") if inspect.isclass(explained) else explained.__doc__
    assert doc, f"{name} has no docstring"
    # The words that `@dataclass` puts there by itself.
    assert not doc.startswith(f"{name}("), f"{name} has no docstring of its own"
