"""What this process has heard of lately: whether something has been invalidated since a moment, as
far as it knows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from repocache.invalidation.batch import Batch
from repocache.keys import bucket_of, owner_bucket
from repocache.records.message import Message
from repocache.tags import NAMED

MOST = 20_000
"""Changes that are remembered; of those before nothing is known but that there were some."""


class RecentChanges:
    """A `Receiver`. `number`: how many changes it has heard of. `process`: how the incarnations of
    records begin that this process makes. `alive`: whether the channel is up."""

    def __init__(self, process: str, *, alive: bool) -> None:
        self.number = 0
        self._process = process
        self._alive = alive
        self._unknown_until = 0
        #: Of keys, owners as a whole and, as numbers, records made anew: the last change.
        self._last: OrderedDict[str | int, int] = OrderedDict()
        self._heard: dict[int, tuple[str, int, str]] = {}

    def changed(self, since: int, keys: Iterable[str]) -> bool:
        """Whether one of these keys may have been invalidated since `number` was this. Nothing is
        known while the channel is down."""
        if not self._alive or since < self._unknown_until:
            return True
        if since == self.number:
            return False
        last = self._last
        for key in keys:
            owner = key.partition(":")[0]
            for each in (key, owner, bucket_of(key), owner_bucket(owner)):
                if last.get(each, 0) > since:
                    return True
        return False

    def committed(self, batch: Batch, _rows: object = ()) -> None:
        """This process's own commit. Of tags it does not say which have moved."""
        self.number += 1
        for owner, texts in batch.keys.items():
            for each in (owner,) if owner.startswith(NAMED.prefix) else texts:
                self._note(each)
        for owner in batch.owners:
            self._note(owner)

    def up(self) -> None:
        self._alive = True
        self._heard.clear()
        self._everything()

    def down(self) -> None:
        self._alive = False
        self._everything()

    def forget_all(self) -> None:
        self._everything()

    def new_history(self) -> None:
        self._everything()

    def apply(self, message: Message) -> None:
        """What does not follow on a record's last change is a loss: all that lies under the record
        may have changed. So it is when somebody else made the record anew: a commit does so whose
        position is not known. This process's own commits say so themselves, and its reads that find
        no record change nothing."""
        at = (message.incarnation, message.seq, message.tip)
        had = self._heard.get(message.bucket)
        if at == had:
            return
        self._heard[message.bucket] = at
        self.number += 1
        if message.seq == 0:
            if not message.incarnation.startswith(self._process):
                self._note(message.bucket)
        elif had is not None and not message.follows(had):
            self._note(message.bucket)
        for each in (*message.keys, *message.generations):
            self._note(each)
        for owner, state in message.owners.items():
            self._told_of(owner_bucket(owner), state)

    def _told_of(self, bucket: int, state: tuple[str, int, str]) -> None:
        """A key's message says how far its owner's record is, whose own may have been lost."""
        had = self._heard.get(bucket)
        if had is None or had[0] != state[0] or state[1] > had[1]:
            self._heard[bucket] = state
            self._note(bucket)

    def _note(self, what: str | int) -> None:
        last = self._last
        last[what] = self.number
        last.move_to_end(what)
        if len(last) > MOST:
            _, self._unknown_until = last.popitem(last=False)

    def _everything(self) -> None:
        self.number += 1
        self._unknown_until = self.number
        self._last.clear()
