"""The databases that tests get: copies of a template, each put back after a test and used again.

Owns which copy a test gets. A copy that cannot be put back, since a test changed its tables or it
was lost with its server, is thrown away, and the next test gets a new one.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from repocache.testing.errors import ServerError
from repocache.testing.restoration import LOOK, PREPARE, RESTORABLE, RESTORE, TABLES, DatabaseLook
from repocache.testing.topology import Endpoints, Servers


@dataclass(frozen=True, slots=True)
class DatabaseCopy:
    """A database by its name. `made`: as it stood at first, None if it can be used once only."""

    name: str
    template: str
    made: DatabaseLook | None


class Copies:
    """Copies of templates on these servers. Every call blocks."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._free: list[DatabaseCopy] = []
        self._tables: dict[str, frozenset[str]] = {}

    @contextmanager
    def endpoints(self, template: str) -> Iterator[Endpoints]:
        """Addresses of a database that is as the template, on all servers already, and of an empty
        Redis. Two that are open at once are two databases. Raises ServerError."""
        self._servers.redis.clear()
        copy = self._restored(template) or self._new(template)
        try:
            yield self._servers.endpoints(copy.name)
        finally:
            if copy.made is None:
                self._drop(copy)
            else:
                self._free.append(copy)

    def tables(self, template: str) -> frozenset[str]:
        """Names of the tables and views of a template, without their schemas, which it will
        keep."""
        if template not in self._tables:
            rows = self._servers.primary.sql(TABLES, template)
            self._tables[template] = frozenset(name for (name,) in rows)
        return self._tables[template]

    def close(self) -> None:
        """Drop them all."""
        while self._free:
            self._drop(self._free.pop())

    def _restored(self, template: str) -> DatabaseCopy | None:
        """One that was used, and is as it was; None if there is none."""
        for copy in [each for each in self._free if each.template == template]:
            self._free.remove(copy)
            # Else a test has changed what rows go into, or the database is gone with its server: a
            # new one is always right.
            with suppress(ServerError):
                look = self._look(copy, RESTORE)
                if copy.made is not None and look.is_as(copy.made):
                    self._servers.await_position(look.position)
                    return copy
            self._drop(copy)
        return None

    def _new(self, template: str) -> DatabaseCopy:
        primary, name = self._servers.primary, f"repocache_{secrets.token_hex(6)}"
        primary.create_database(name, template)
        copy = DatabaseCopy(name, template, None)
        # Tests whose template has no tables make their own, which would have to be thrown away.
        if self.tables(template) and primary.sql(RESTORABLE, name) == [("t",)]:
            # Put back at once: what it then is, it is each time.
            copy = DatabaseCopy(name, template, self._look(copy, PREPARE + RESTORE))
        self._servers.catch_up()
        return copy

    def _look(self, copy: DatabaseCopy, script: str) -> DatabaseLook:
        return DatabaseLook.of(self._servers.primary.sql(script + LOOK, copy.name))

    def _drop(self, copy: DatabaseCopy) -> None:
        self._servers.primary.drop_database(copy.name)
