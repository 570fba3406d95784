"""A row that cannot be read fails those who asked for it, and nobody else of its batch.

Owns the search for such rows and the error's words. Which failures are a row's is
`driver_errors`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from repocache.cache.entry import Row
from repocache.engines.driver_errors import is_of_rows, is_undecodable
from repocache.errors import CodecError
from repocache.keys import shown


def unreadable(model: type[object], id: object, error: Exception) -> CodecError:
    """For the row with this id."""
    return _refusal(one_row(model, id), error)


def one_row(model: type[object], id: object) -> str:
    """What a message calls the row with this id."""
    return f"{model.__name__} {shown(id)}"


def any_row(model: type[object]) -> str:
    """What a message calls a row among many."""
    return f"a row of {model.__name__}"


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise CodecError in the place of what a driver or a type raises for values that it cannot
    decode."""
    try:
        yield
    except Exception as error:
        if is_undecodable(error):
            raise _refusal(what, error) from error
        raise


def _refusal(what: str, error: Exception) -> CodecError:
    refusal = CodecError(f"{what} cannot be read: {type(error).__name__}: {error}")
    refusal.__cause__ = error
    return refusal


async def read_apart(
    ids: Sequence[Any],
    read: Callable[[Sequence[Any]], Awaitable[Mapping[Any, Row]]],
    refuse: Callable[[Any, Exception], CodecError],
) -> dict[Any, Row | CodecError]:
    """The rows of these ids by one statement; if a row makes it fail, by halves, one after the
    other: 2 log2(n) statements for one such row among n, fewer than 2n whatever the rows are.

    `refuse`: an id alone whose row cannot be read, and why: what stands in the row's place.
    """
    try:
        return dict(await read(ids))
    except Exception as error:
        if not is_of_rows(error):
            raise
        if len(ids) == 1:
            return {ids[0]: refuse(ids[0], error)}
    middle = len(ids) // 2
    first = await read_apart(ids[:middle], read, refuse)
    return first | await read_apart(ids[middle:], read, refuse)
