"""How the types of the public names are meant to come out. Checked by mypy, never run.

What must not type-check carries a `type: ignore` with its code: mypy complains once the line is accepted.
"""

from typing import assert_type

import repocache

assert_type(repocache.__all__, list[str])
repocache.__all__ = ()  # type: ignore[assignment]
