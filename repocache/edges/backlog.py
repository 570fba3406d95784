"""What waits to be purged at one edge: bounded, and nothing of it is lost."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from repocache.edges.header import keys_by_owner
from repocache.edges.names import EVERYTHING


def wholes(tags: Iterable[str], most: int) -> frozenset[str]:
    """At most `most` tags, 1 or more, that purge every page that one of these does. Pure.

    Every page carries, with a tag of an owner, the owner as a whole, and `*`. Owners with most tags
    become that, then all become `*`.
    """
    given = frozenset(tags)
    if EVERYTHING in given:
        return frozenset({EVERYTHING})
    keys = keys_by_owner(given)
    left, count = set(given), len(given)
    for owner in sorted(keys, key=lambda each: (-len(keys[each]), each)):
        if count <= most:
            break
        left -= keys[owner]
        left.add(owner)
        count = len(left)
    return frozenset(left) if count <= most else frozenset({EVERYTHING})


class EdgeBacklog:
    """Tags of one edge, in the order in which they came first, each once. `most`: tags."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._since: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._since)

    def add(self, tags: Iterable[str], since: float) -> int:
        """`since`: seconds of a monotonic clock, when they were told. How many tags were folded to
        make room; 0: there was room."""
        for tag in tags:
            known = self._since.get(tag)
            self._since[tag] = since if known is None else min(known, since)
        count = len(self._since)
        if count <= self._most:
            return 0
        oldest = min(self._since.values())
        # Half of the room: the next commits do not fold again.
        self._since = dict.fromkeys(wholes(self._since, max(1, self._most // 2)), oldest)
        return count

    def take(self, most: int) -> dict[str, float]:
        """Up to `most` tags, which do not wait any more, and since when they have."""
        taken = dict(islice(self._since.items(), most))
        for tag in taken:
            del self._since[tag]
        return taken

    def put_back(self, taken: dict[str, float]) -> int:
        """What was taken and not purged; it is first again. As `add`."""
        later, self._since = self._since, {}
        for tags in (taken, later):
            for tag, since in tags.items():
                self._since[tag] = min(since, self._since.get(tag, since))
        return self.add((), 0.0)
