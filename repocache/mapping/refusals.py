"""All that is refused of a mapping, gathered, so that one error says it.

Owns the words of what can be done about each, and the declaration to paste.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from repocache.errors import ConfigurationError, MappingRefused
from repocache.keys import key_type_names
from repocache.mapping.options import MappingOptions


class Refusals:
    """Of one mapping, or of several."""

    def __init__(self) -> None:
        self._found: list[MappingRefused] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is refused within is kept, and the next one is looked at."""
        try:
            yield
        except MappingRefused as error:
            self.add(error)

    def add(self, error: MappingRefused) -> None:
        """As if it had been raised within."""
        self._found.extend(error.parts or (error,))

    def __bool__(self) -> bool:
        return bool(self._found)

    def check(self) -> None:
        """Raise MappingRefused if there are any."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            lines = list(dict.fromkeys(str(each) for each in self._found))
            raise MappingRefused("\n".join(lines), parts=tuple(self._found))

    def snippet(self, repository: str, options: MappingOptions) -> str:
        """The declaration by which the repository does without what is refused; empty: no such
        thing would help."""
        names = [each.leave_out for each in self._found]
        if not names or not all(names) or options.codecs:
            return ""
        said = {
            "not_loaded": tuple(dict.fromkeys((*options.not_loaded, *names))),
            "derived": options.derived,
            "unfiltered": options.unfiltered,
        }
        arguments = ", ".join(f"{name}={value!r}" for name, value in said.items() if value)
        return f"{repository} without them:\n    mapping = MappingOptions({arguments})"


def with_remedy(error: MappingRefused, attribute: str, *, of_key: bool) -> MappingRefused:
    """`attribute`: that is refused. `of_key`: it is a part of the id, or says the class: entities
    cannot do without it."""
    if of_key:
        return MappingRefused(
            f"{error}. An entity cannot do without it: declare MappingOptions(codecs="
            f"{{{attribute!r}: ColumnCodec(..., python_type=..., immutable=True)}}), for a key "
            f"with one of {key_type_names()}, or map it to another type"
        )
    return MappingRefused(
        f"{error}. Declare MappingOptions(codecs={{{attribute!r}: ColumnCodec(...)}}), or leave it "
        f"out with MappingOptions(not_loaded=({attribute!r},))",
        leave_out=attribute,
    )


class RefusedRepositories:
    """What is refused of all repositories of a database."""

    def __init__(self) -> None:
        self._all = Refusals()
        self._snippets: list[str] = []

    @contextmanager
    def of(self, repository: str, options: MappingOptions) -> Iterator[None]:
        """What is refused within is kept. `options`: its declaration."""
        own = Refusals()
        try:
            with own.gathered():
                yield
        except ConfigurationError:
            self.check()  # what was found before is said first
            raise
        self._snippets.append(own.snippet(repository, options))
        with self._all.gathered():
            own.check()

    def check(self) -> None:
        """Raise MappingRefused if there is anything, with what to paste."""
        try:
            self._all.check()
        except MappingRefused as error:
            snippets = list(filter(None, self._snippets))
            if not snippets:
                raise
            text = "\n".join([str(error), *snippets])
            parts = error.parts or (error,)
            raise MappingRefused(text, leave_out=error.leave_out, parts=parts) from error
