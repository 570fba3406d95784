"""What this process believes of each record, and what an invalidation does here: L1 and the loads
in flight follow the views.

Plain sync code, run inside the connection's own callback, so that a message has its effect before
the caller of any later reply runs (protocol, The channel).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from repocache.bookmark import Bookmark
from repocache.cache.belief import (
    At,
    Before,
    Belief,
    BucketView,
    Doubt,
    Heard,
    Taken,
    doubt,
    hear,
    take,
)
from repocache.cache.inflight import InflightLoads
from repocache.cache.shelf import LocalKey
from repocache.errors import RepocacheError
from repocache.events import GapSeen, Invalidated, Observer
from repocache.keys import BUCKETS, KeySpace, bucket_of, owner_bucket
from repocache.records.message import Message


class Local(Protocol):
    """What the views need of L1."""

    def discard(self, key: LocalKey) -> bool: ...

    def clear_bucket(self, bucket: int) -> int: ...

    def clear_owner(self, owner: str) -> int: ...

    def clear(self) -> int: ...


_WHY = {
    Taken.LOST: "messages were lost",
    Taken.FORGED: "a message was not the record's",
    Taken.NEW: "a new record",
}
"""Why all that lies under a record goes."""


class BucketViews:
    """`alive`: connected and subscribed. While it is False, L1 does not count and nothing enters
    it. `beliefs`: by bucket, open to the read path, which does what `get` does without the
    call."""

    def __init__(
        self, local: Local, loads: InflightLoads, keys: KeySpace, process: str, observe: Observer
    ) -> None:
        self.alive = False
        self._local = local
        self._loads = loads
        self._keys = keys
        self._process = process
        self._observe = observe
        self.beliefs: list[Belief] = [Doubt()] * (2 * BUCKETS)
        self._owners: dict[int, list[str]] = {}
        for each in keys:
            self._owners.setdefault(owner_bucket(each.prefix), []).append(each.prefix)

    def get(self, bucket: int) -> BucketView | None:
        """None: the record has to be asked first."""
        belief = self.beliefs[bucket]
        return belief if isinstance(belief, BucketView) else None

    def before(self, bucket: int) -> Before:
        """To be noted when the record is asked, for `adopt`."""
        belief = self.beliefs[bucket]
        return Before(belief, belief.heard if isinstance(belief, BucketView) else 0)

    def up(self) -> None:
        """The channel is confirmed: everything known is from before, and is dropped."""
        self._forget()
        self.alive = True

    def down(self) -> None:
        self.alive = False
        self._forget()

    def covers(self, buckets: tuple[int, int], bookmark: Bookmark) -> bool:
        """Whether what lies under these records counts in the bookmark's session: of a key's bucket
        and of its owner (protocol, Read path 1)."""
        if not bookmark.takes_cached:
            return False
        wrote = bookmark.buckets
        if not wrote:
            return True
        beliefs = self.beliefs
        for bucket in buckets:
            seen = wrote.get(bucket)
            if seen is not None:
                view = beliefs[bucket]
                if (
                    type(view) is not BucketView
                    or view.incarnation != seen.incarnation
                    or view.told < seen.seq
                ):
                    return False
        return True

    def apply(self, message: Message) -> None:
        """A record's announcement, or what somebody published as one: it drops what it names, and
        no more is believed of it. If it does not follow on the last one, all that lies under the
        record goes."""
        bucket = message.bucket
        at = At(message.incarnation, message.seq, message.tip)
        owners = [owner for owner in message.generations if owner in self._keys]
        self._drop_keys(bucket, message.keys)
        for owner in owners:
            self._clear_owner(owner)
        belief = self.beliefs[bucket]
        heard = hear(belief, at, message.before)
        if heard is Heard.DOUBT:
            self._doubt(bucket, at, message.before)
        elif isinstance(belief, BucketView):
            belief.heard, belief.tip = at.seq, at.tip
            for owner in owners:
                belief.generations.pop(owner, None)
        for owner, state in message.owners.items():
            if owner in self._keys:
                self._told(owner_bucket(owner), At(*state))
        if message.keys or message.generations:
            self._observe(Invalidated(bucket, message.keys, message.origin == self._process))

    def _told(self, bucket: int, at: At) -> None:
        """A key's message tells how far its owner's record is.

        1. An owner changes as a whole, and the message is lost; 2. a key of it is written, and what
        lies under its new name is dropped; 3. this process hears of that, and would go on reading
        by the old name.
        """
        belief = self.beliefs[bucket]
        if isinstance(belief, BucketView) and belief.at != at:
            self._doubt(bucket, at)

    def _doubt(self, bucket: int, at: At, tip_before: str = "") -> None:
        """Nothing is believed of the record any more. `at`: where it is said to be."""
        belief = self.beliefs[bucket]
        if isinstance(belief, BucketView):
            self._give_up(
                bucket,
                "a new record" if belief.incarnation != at.incarnation else "messages were lost",
            )
        self.beliefs[bucket] = doubt(belief, at, tip_before)

    def adopt(self, bucket: int, asked: Before, at: At) -> BucketView | None:
        """Take over what a script's reply said of a record. None: it is older than what is known by
        now. `asked`: as `before` told it."""
        belief = self.beliefs[bucket]
        taken = take(belief, asked, at)
        if taken is Taken.REFUSED:
            return None
        if isinstance(belief, BucketView):
            if taken is Taken.TOLD:
                belief.told = at.seq
            if taken is Taken.TOLD or taken is Taken.OLDER:
                return belief
            self._give_up(bucket, _WHY[taken])
        view = self.beliefs[bucket] = BucketView(at)
        return view

    def adopt_generation(
        self, own: int, owner: str, asked: Before, at: At, generation: str
    ) -> BucketView | None:
        """The same for the owner's record, in the bucket `own`, and its generation."""
        view = self.adopt(own, asked, at)
        if view is None:
            return None
        known = view.generations.get(owner)
        if known != generation:
            if view.heard > at.seq:
                return None
            if known is not None:
                self._clear_owner(owner)
            view.generations[owner] = generation
        return view

    def confirm(self, bucket: int, at: At) -> None:
        """This process's own change has brought the record there."""
        belief = self.beliefs[bucket]
        if isinstance(belief, BucketView) and (belief.incarnation, belief.heard, belief.tip) == at:
            belief.told = at.seq

    def wrote(self, texts: Iterable[str], owners: Iterable[str]) -> None:
        """This process's own commit, before `commit()` returns (protocol, Write path 6). `owners`:
        as a whole."""
        for owner in owners:
            self._clear_owner(owner)
        for text in texts:
            self._drop_keys(bucket_of(text), (text,))

    def forget_all(self) -> None:
        """Something on the channel could not be read: anything may have been missed."""
        self._forget()

    def new_history(self) -> None:
        """What was cached in this process may hold commits that the new primary never had."""
        self._forget()

    def _drop_keys(self, bucket: int, texts: Iterable[str]) -> None:
        self._count(bucket)
        for text in texts:
            key = self._local_key(text)
            if key is not None:
                self._local.discard(key)
                self._loads.invalidate_key(bucket, key)

    def _local_key(self, text: str) -> LocalKey | None:
        """None for the keys of owners that this process has not."""
        prefix = text.partition(":")[0]
        if prefix not in self._keys:
            return None
        id: Any
        try:
            id = self._keys.owner(text).id(text)
        except RepocacheError:
            return None
        return (prefix, id)

    def _count(self, bucket: int) -> None:
        belief = self.beliefs[bucket]
        if isinstance(belief, BucketView):
            belief.invalidations += 1

    def _give_up(self, bucket: int, why: str) -> None:
        """Anything under this record may have been invalidated."""
        self._observe(GapSeen(bucket, why))
        if bucket >= BUCKETS:
            for owner in self._owners.get(bucket, ()):
                self._clear_owner(owner)
            return
        self._count(bucket)
        self._local.clear_bucket(bucket)
        self._loads.invalidate_bucket(bucket)

    def _clear_owner(self, owner: str) -> None:
        """All keys of an owner were invalidated, and have other names from now on."""
        self._count(owner_bucket(owner))
        self._local.clear_owner(owner)
        self._loads.invalidate_owner(owner)
        for belief in self.beliefs:
            if isinstance(belief, BucketView):
                belief.prefixes.pop(owner, None)

    def _forget(self) -> None:
        self.beliefs = [Doubt()] * (2 * BUCKETS)
        self._local.clear()
        self._loads.invalidate_all()
