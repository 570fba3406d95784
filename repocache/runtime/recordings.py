"""What responses of a running database are made of, and whether the same would be made now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

from repocache.bookmark import Bookmark
from repocache.cache.entry import CachedRow
from repocache.cache.l1_reader import ReadRecorder
from repocache.cache.policies import Policy
from repocache.cache.process_cache import ProcessCache
from repocache.cache.switch import CacheMode
from repocache.cache.tiered import TieredCache
from repocache.computed.entry import shapes_of
from repocache.errors import CodecError, DatabaseUnavailable, RepocacheError
from repocache.invalidation.recent import RecentChanges
from repocache.keys import Keys
from repocache.queries.shape import Shape
from repocache.repository.tokens import Tokens
from repocache.routing.around import current_session
from repocache.routing.expected import Expectation
from repocache.routing.recorded import BothRecorders
from repocache.routing.recording import SLOTS, RecordedOwner, Recording, Trace
from repocache.routing.routing import Routing
from repocache.runtime.readers import RepositoryReader
from repocache.tags import NAMED

NOT_TOLD = "under its policy commits tell nobody what they changed"
NEVER_OLD = "its policy promises that nobody is shown what was before a commit"
_UNBELIEVED = (CacheMode.OFF, CacheMode.SHADOW)
CHANGED = "something that it shows has changed meanwhile"
INSERTS = "under its policy an insert tells nobody, so that its absence may end unheard"


class _Owner(NamedTuple):
    """`keys`: as its rows are cached in `cache`."""

    keys: Keys
    cache: TieredCache


class Recordings:
    """`owners`: whose rows responses are made of, each with its cache, policy and scope. `tokens`:
    of tags; None: there are none. `recent`: begins to hear
    of what changes, once that is wanted."""

    def __init__(
        self,
        owners: Iterable[tuple[Keys, TieredCache, Policy, str]],
        *,
        shared: ProcessCache,
        routing: Routing,
        tokens: Tokens | None,
        recent: Callable[[], RecentChanges],
    ) -> None:
        self._caches: dict[str, _Owner] = {}
        self._owners: dict[str, RecordedOwner] = {}
        for keys, cache, policy, scope in owners:
            self._caches[keys.prefix] = _Owner(keys, cache)
            self._owners[keys.prefix] = _recorded(keys, cache, policy, scope)
        self._shared = shared
        self._routing = routing
        self._tokens = tokens
        self._opened = recent
        self._heard: RecentChanges | None = None

    @property
    def _recent(self) -> RecentChanges:
        """Who makes no responses hears nothing, and pays nothing."""
        if self._heard is None:
            self._heard = self._opened()
        return self._heard

    async def expect(self, recording: Recording, named: Iterable[str]) -> None:
        """What is made depends on these tags of the application's own too, by their keys, and on
        who may have it made anew (`Database.revalidate_tag`). To be called before anything is read:
        under tokens of later nothing is found that shows what was before."""
        if self._tokens is None:
            return
        tags = (*named, *SLOTS)
        found = self._tokens.at_hand(tags)
        if found is None:
            found = await self._tokens.read(dict.fromkeys(tags), self._routing.asking())
        if found is None:
            recording.unknown("the application's own tags could not be kept in Redis")
            return
        tokens = dict(zip(tags, found, strict=True))
        recording.slots = {slot: tokens.pop(slot) for slot in SLOTS}
        recording.tokens(self._shared, tokens, dict.fromkeys(tokens, ""))

    @contextmanager
    def record(self) -> Iterator[Recording]:
        """Of what is read in the block, and in tasks and sessions that begin there."""
        recording = Recording(self._shared, self._owners, self._recent.number)
        try:
            with self._routing.recorded(recording):
                yield recording
        finally:
            recording.end()

    def expecting(self, trace: Trace) -> AbstractContextManager[Expectation]:
        """See `Routing.expecting`."""
        return self._routing.expecting(trace)

    def hindrance(self, recording: Recording, trace: Trace) -> str:
        """Why what was made may not be kept for others, empty if it may. Looked at right before it
        is sent, this process has heard of no change since the first read (`models/edge.py`, "look
        again")."""
        why = recording.why_unknown or recording.why_behind
        return why or self.changed(recording.since, trace)

    def changed(self, since: int, trace: Trace) -> str:
        """Why what was made since then may be old, as far as this process has heard; empty: it is
        not."""
        return CHANGED if self._recent.changed(since, trace.tags) else ""

    async def check(self, trace: Trace) -> Checked:
        """The same reads, answered now for the caller's session: equal to the trace's own version
        if nothing has changed. It cannot be said while the database is away, of a session that
        takes nothing from caches, nor where these are switched so that they answer nobody. Whoever
        records the session hears of all."""
        if self._routing.monotonic is not None or not self._are_believed(trace):
            return NOT_KNOWN
        since, late, session = self._recent.number, Late(), current_session()
        outer = None if session is None else session.recorder
        recorder: ReadRecorder = late if outer is None else BothRecorders(late, outer)
        prepared: Prepared | None = trace.memo.get(Prepared)
        try:
            if prepared is None:
                prepared = trace.memo[Prepared] = self._prepared(trace)
            found = {
                each.owner: await _versions(each, self._routing.asking, recorder)
                for each in prepared.owners
            }
            tokens = await self._tokens_of(prepared)
        except (CodecError, DatabaseUnavailable):
            return NOT_KNOWN  # also of another release
        if tokens is None:
            return NOT_KNOWN
        recorder.tokens(self._shared, dict(zip(prepared.tags, tokens, strict=True)), trace.shapes)
        same = tokens == prepared.tokens and all(
            found[each.owner] is each.versions for each in prepared.owners
        )
        if same:
            version = trace.version
        else:
            rows = {
                each.owner: dict(zip(each.keys, found[each.owner], strict=True))
                for each in prepared.owners
            }
            version = Trace(rows, dict(zip(prepared.tags, tokens, strict=True)), {}).version
        return Checked(version, late.why or self.changed(since, trace))

    def _are_believed(self, trace: Trace) -> bool:
        """Whether reads of this would be answered by caches. Which owners' selects a table's tags
        are of is not told apart."""
        selects = any(not tag.startswith(f"{NAMED.prefix}:") for tag in trace.tokens)
        owners = self._caches if selects else trace.rows
        found = (self._caches.get(owner) for owner in owners)
        return not any(each and each.cache.switch.mode in _UNBELIEVED for each in found)

    def _prepared(self, trace: Trace) -> Prepared:
        """Raises CodecError for what this database does not know."""
        owners = []
        for owner, keys in trace.rows.items():
            known = self._caches.get(owner)
            if known is None:
                raise CodecError(f"{owner} is no owner here")
            try:
                ids = [known.keys.id(key) for key in keys]
            except RepocacheError as error:
                raise CodecError(str(error)) from error
            owners.append(PreparedOwner(owner, known.cache, ids, list(keys), list(keys.values())))
        tags = list(trace.tokens)
        if tags and self._tokens is None:
            raise CodecError("there are no tags here")
        shapes = shapes_of({tag: trace.shapes.get(tag, "") for tag in tags})
        return Prepared(owners, tags, list(trace.tokens.values()), shapes)

    async def _tokens_of(self, prepared: Prepared) -> list[str] | None:
        """None: they are not to be had."""
        if self._tokens is None:
            return prepared.tokens
        found = self._tokens.at_hand(prepared.tags)
        return found or await self._tokens.read(prepared.shapes, self._routing.asking())


class PreparedOwner(NamedTuple):
    """Of one owner, each in the same order."""

    owner: str
    cache: TieredCache
    ids: list[Any]
    keys: list[str]
    versions: list[bytes]


class Prepared(NamedTuple):
    """What is asked to say whether a trace is still right."""

    owners: list[PreparedOwner]
    tags: list[str]
    tokens: list[str]
    shapes: Mapping[str, Shape | None]


class Checked(NamedTuple):
    """`version`: of now, None: that cannot be said. `late`: why what was asked anew may be older
    than what was invalidated; empty: it is not."""

    version: bytes | None
    late: str = ""


NOT_KNOWN = Checked(None)


class Late:
    """A `ReadRecorder` that only wants to know whether something was late."""

    def __init__(self) -> None:
        self.why = ""

    def row(self, of: object, owner: str, id: Any, cached: CachedRow) -> None:
        """What it is the caller looks at himself."""

    def tokens(self, of: object, tokens: Mapping[str, str], shapes: Mapping[str, str]) -> None:
        """The same."""

    def behind(self, why: str) -> None:
        self.why = self.why or why

    def unknown(self, why: str) -> None:
        self.why = self.why or why


async def _versions(
    each: PreparedOwner, asking: Callable[[], Bookmark | None], recorder: ReadRecorder
) -> list[bytes]:
    """Of its keys now; the list that was given if none has changed. Raises CodecError, and
    DatabaseUnavailable."""
    peek, version = each.cache.peek_for_caller, each.cache.version
    cached = [peek(id) for id in each.ids]
    if None in cached:
        missing = [id for id, found in zip(each.ids, cached, strict=True) if found is None]
        brought = await each.cache.get_many(missing, asking(), recorder)
        cached = [
            brought[id] if found is None else found
            for id, found in zip(each.ids, cached, strict=True)
        ]
    found = [each_row.version or version(each_row) for each_row in cached if each_row is not None]
    return each.versions if found == each.versions else found


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
