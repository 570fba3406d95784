"""Registers the shapes of cached queries, so that whoever writes tells their tags
(protocol/queries.md, rule 1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from repocache.cache.bucket_views import BucketViews
from repocache.cache.settler import Line
from repocache.errors import CacheUnavailable
from repocache.events import CacheFailed, Observer
from repocache.keys import owner_bucket
from repocache.queries.known import ShapeBook
from repocache.queries.shape import Shape
from repocache.records import CallerHistory, Registrations
from repocache.tags import shape_id, tag_owner


class Registrar:
    """`book`: learns what is registered."""

    def __init__(
        self,
        registrations: Registrations,
        views: BucketViews,
        line: Line,
        book: ShapeBook,
        observe: Observer,
    ) -> None:
        self._registrations = registrations
        self._views = views
        self._line = line
        self._book = book
        self._observe = observe
        #: By owner: the incarnation of its record, and the ids of the shapes that it lists.
        self._listed: dict[str, tuple[str, frozenset[str]]] = {}

    def has(self, owner: str, shapes: Iterable[str]) -> bool:
        """Whether these, by their ids, are in the owner's record as it is believed to be."""
        view = self._views.get(owner_bucket(owner))
        incarnation, listed = self._listed.get(owner, ("", frozenset()))
        return view is not None and view.incarnation == incarnation and listed.issuperset(shapes)

    async def register(self, shapes: Iterable[Shape]) -> bool:
        """Whether all are registered now, or were. Never raises for the cache."""
        wanted: dict[str, dict[str, str]] = {}
        for shape in shapes:
            texts = wanted.setdefault(tag_owner(*shape.place).prefix, {})
            texts[shape_id(shape.text)] = shape.text
        missing = {
            owner: sorted(texts.values())
            for owner, texts in wanted.items()
            if not self.has(owner, texts)
        }
        return not missing or await self._register(missing)

    async def _register(self, wanted: Mapping[str, Sequence[str]]) -> bool:
        terms, done = CallerHistory(self._line.history), True
        try:
            pending = {
                owner: self._registrations.register(owner, texts, terms)
                for owner, texts in wanted.items()
            }
            for owner, answer in pending.items():
                registration = await answer
                if registration.shapes:
                    self._book.learn(owner, registration.shapes)
                    listed = frozenset(map(shape_id, registration.shapes))
                    self._listed[owner] = (registration.incarnation, listed)
                done = done and not registration.history
        except CacheUnavailable as error:
            self._observe(CacheFailed("register", str(error)))
            return False
        return done
