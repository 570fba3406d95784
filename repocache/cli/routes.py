"""What the routes of an application may be kept for, before the application has started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import getattr_static
from typing import Any

from repocache.database import Database
from repocache.errors import ConfigurationError
from repocache.http.caching.middleware import HttpCache, described
from repocache.http.caching.routes import Routes


def tell_routes(names: Mapping[str, Any], db: Database) -> None:
    """Tells the database the routes of the applications among these values, as `HttpCache` will
    when they are started: Starlette and FastAPI make their middleware no sooner."""
    for app in list(names.values()):
        for given in _declared(app, db):
            try:
                db.serves(described(given if isinstance(given, Routes) else Routes(given)))
            except ConfigurationError:
                continue  # the application itself says so when it is started


def _declared(app: Any, db: Database) -> Iterator[Any]:
    """The `routes` of its HttpCache over this database. A value that answers for another one, as a
    proxy of what a request alone has, is not asked."""
    declared = getattr_static(app, "user_middleware", None)
    for each in declared if isinstance(declared, list) else ():
        if getattr(each, "cls", None) is HttpCache:
            arguments = dict(zip(("db", "routes"), each.args, strict=False)) | each.kwargs
            if arguments.get("db") is db:
                yield arguments.get("routes")
