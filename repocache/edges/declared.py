"""What a user writes: `Database(edges=Edges(Varnish("http://varnish:6081")))`."""

from __future__ import annotations

import re

from repocache.edges.edge import Edge
from repocache.edges.names import TagNames
from repocache.edges.purger import Purger, checked_edges
from repocache.errors import ConfigurationError
from repocache.events import Observer

MOST_TAGS = 64
"""Names in the header of one page."""


class Edges:
    """The caches in front of a service, which each commit purges. A value: it is never changed.

    `app`: how names begin; None: as `Settings(app=...)`. `secret`: of at least 16 bytes, the same
    in every process: names are digests, so that who sees a header learns no id from it. With a new
    one, purge everything once, for edges keep pages under the old names. `transit`: seconds that a
    response may take from its last look at what has changed until an edge has it: so much longer
    the second purge waits. `most_tags`: names that a page carries; beyond them, of the owners with
    most keys, all keys together.

    Raises ConfigurationError.
    """

    def __init__(
        self,
        *edges: Edge,
        app: str | None = None,
        secret: str | None = None,
        transit: float = 2.0,
        most_tags: int = MOST_TAGS,
    ) -> None:
        self.edges = checked_edges(edges)
        if not self.edges:
            raise ConfigurationError("Edges(): give an edge, as Varnish(url), or leave edges out")
        self.app = app
        self.secret = secret
        TagNames(app or "app", secret)  # raises
        if not 0 < transit < float("inf"):
            raise ConfigurationError(f"Edges(transit={transit}): seconds, more than 0")
        if most_tags < 8:
            raise ConfigurationError(f"Edges(most_tags={most_tags}): give 8 or more")
        self.transit = transit
        self.most_tags = most_tags

    def __repr__(self) -> str:
        return f"Edges({', '.join(map(repr, self.edges))})"

    def names(self, app: str) -> TagNames:
        """`app`: of the settings; what no name may have in it gives way to `_`."""
        return TagNames(self.app or re.sub(r"[^A-Za-z0-9_-]", "_", app)[:32], self.secret)

    def purger(self, names: TagNames, observe: Observer) -> Purger:
        """To be entered."""
        return Purger(self.edges, names, observe)
