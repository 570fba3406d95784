"""What responses of a running database are made of, and whether the same would be made now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from repocache.bookmark import Bookmark
from repocache.cache.l1_reader import ReadRecorder
from repocache.cache.policies import Policy
from repocache.cache.process_cache import ProcessCache
from repocache.cache.switch import CacheMode
from repocache.cache.tiered import TieredCache
from repocache.computed.entry import shapes_of
from repocache.errors import CodecError, DatabaseUnavailable, RepocacheError
from repocache.invalidation.recent import RecentChanges
from repocache.keys import Keys
from repocache.repository.tokens import Tokens
from repocache.routing.around import current_session
from repocache.routing.recording import SLOTS, RecordedOwner, Recording, Trace
from repocache.routing.routing import Routing
from repocache.runtime.readers import RepositoryReader
from repocache.tags import NAMED

NOT_TOLD = "under its policy commits tell nobody what they changed"
NEVER_OLD = "its policy promises that nobody is shown what was before a commit"
_UNBELIEVED = (CacheMode.OFF, CacheMode.SHADOW)
INSERTS = "under its policy an insert tells nobody, so that its absence may end unheard"


class _Owner(NamedTuple):
    """`keys`: as its rows are cached in `cache`."""

    keys: Keys
    cache: TieredCache


class Recordings:
    """`owners`: whose rows responses are made of, each with its cache, policy and scope. `tokens`:
    of tags; None: there are none. `recent`: what this process has heard of."""

    def __init__(
        self,
        owners: Iterable[tuple[Keys, TieredCache, Policy, str]],
        *,
        shared: ProcessCache,
        routing: Routing,
        tokens: Tokens | None,
        recent: RecentChanges,
    ) -> None:
        self._caches: dict[str, _Owner] = {}
        self._owners: dict[str, RecordedOwner] = {}
        for keys, cache, policy, scope in owners:
            self._caches[keys.prefix] = _Owner(keys, cache)
            self._owners[keys.prefix] = _recorded(keys, cache, policy, scope)
        self._shared = shared
        self._routing = routing
        self._tokens = tokens
        self._recent = recent

    async def expect(self, recording: Recording, named: Iterable[str]) -> None:
        """What is made depends on these tags of the application's own too, by their keys, and on
        who may have it made anew (`Database.revalidate_tag`). To be called before anything is read:
        under tokens of later nothing is found that shows what was before."""
        if self._tokens is None:
            return
        tags, session = (*named, *SLOTS), current_session()
        told = recording if session is None else session.recorder or recording
        found = self._tokens.at_hand(tags)
        if found is None:
            found = await self._tokens.read(dict.fromkeys(tags), self._routing.asking())
        if found is None:
            told.unknown("the application's own tags could not be kept in Redis")
            return
        tokens = dict(zip(tags, found, strict=True))
        recording.slots = {slot: tokens.pop(slot) for slot in SLOTS}
        told.tokens(self._shared, tokens, dict.fromkeys(tokens, ""))

    @contextmanager
    def record(self) -> Iterator[Recording]:
        """Of what is read in the block, and in tasks and sessions that begin there."""
        recording = Recording(self._shared, self._owners, self._recent.number)
        try:
            with self._routing.recorded(recording):
                yield recording
        finally:
            recording.end()

    def hindrance(self, recording: Recording, trace: Trace) -> str:
        """Why what was made may not be kept for others, empty if it may. Looked at right before it
        is sent, this process has heard of no change since the first read (`models/edge.py`, "look
        again")."""
        why = recording.why_unknown or recording.why_behind
        if not why and self._recent.changed(recording.since, trace.tags):
            return "something that it shows has changed meanwhile"
        return why

    async def version(self, trace: Trace) -> bytes | None:
        """Of the same reads, answered now for the caller's session, which are recorded if it is;
        equal to the trace's own if nothing has changed. None: that cannot be said, as while
        the database is away, or not by caches, which are switched so that they answer nobody."""
        if not self._are_believed(trace):
            return None
        bookmark, session = self._routing.asking(), current_session()
        recorder = None if session is None else session.recorder
        rows: dict[str, Mapping[str, bytes]] = {}
        for owner, keys in trace.rows.items():
            known = self._caches.get(owner)
            if known is None:
                return None
            try:
                rows[owner] = await _versions(known, keys, bookmark, recorder)
            except (CodecError, DatabaseUnavailable):
                return None
        tokens = await self._tokens_of(trace, bookmark)
        if recorder is not None and tokens is not None:
            recorder.tokens(self._shared, tokens, trace.shapes)
        return None if tokens is None else Trace(rows, tokens, {}).version

    def _are_believed(self, trace: Trace) -> bool:
        """Whether reads of this would be answered by caches. Which owners' selects a table's tags
        are of is not told apart."""
        selects = any(not tag.startswith(f"{NAMED.prefix}:") for tag in trace.tokens)
        owners = self._caches if selects else trace.rows
        found = (self._caches.get(owner) for owner in owners)
        return not any(each and each.cache.switch.mode in _UNBELIEVED for each in found)

    async def _tokens_of(self, trace: Trace, bookmark: Bookmark | None) -> Mapping[str, str] | None:
        if not trace.tokens:
            return {}
        if self._tokens is None:
            return None
        tags = list(trace.tokens)
        found = self._tokens.at_hand(tags)
        if found is None:
            try:
                shapes = shapes_of({tag: trace.shapes.get(tag, "") for tag in tags})
            except CodecError:
                return None  # of another release
            found = await self._tokens.read(shapes, bookmark)
        return None if found is None else dict(zip(tags, found, strict=True))


async def _versions(
    owner: _Owner,
    keys: Mapping[str, bytes],
    bookmark: Bookmark | None,
    recorder: ReadRecorder | None,
) -> Mapping[str, bytes]:
    """Of these keys now. Raises CodecError, also for the text of no key."""
    try:
        ids = {owner.keys.id(key): key for key in keys}
    except RepocacheError as error:
        raise CodecError(str(error)) from error
    found = await owner.cache.get_many(list(ids), bookmark, recorder)
    version = owner.cache.version
    return {key: version(found[id]) for id, key in ids.items()}


def _recorded(keys: Keys, cache: TieredCache, policy: Policy, scope: str) -> RecordedOwner:
    text: Callable[[Any], str] = keys.text
    if policy.primary_alone or policy.holds_readers_back:
        hindrance = f"{keys.prefix}: {NEVER_OLD}"
    else:
        hindrance = "" if policy.tells_changes else f"{keys.prefix}: {NOT_TOLD}"
    absent = "" if policy.tells_inserts else f"{keys.prefix}: {INSERTS}"
    return RecordedOwner(text, cache.version, hindrance, absent, scope)


def recorded_owners(
    opened: Iterable[RepositoryReader], policies: Mapping[str, tuple[Policy, str]]
) -> Iterator[tuple[Keys, TieredCache, Policy, str]]:
    """Of these readers. `policies`: by the owner's prefix, with the name of its scope."""
    for reader in opened:
        for cache in reader.caches:
            yield (cache.keys, cache, *policies[cache.keys.prefix])
