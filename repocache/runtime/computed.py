"""Computed values of a running database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy.sql.selectable import SelectBase

from repocache.bookmark import Bookmark
from repocache.cache.entry import RowRequest, Source
from repocache.cache.freshness import Freshness
from repocache.cache.policies import LONGEST_TTL, Policy
from repocache.cache.tiered import TieredCache
from repocache.computed.declared import AnyComputed, ComputedBinding
from repocache.computed.entry import Hint, HintCodec, Tags, ValueId, hint_life
from repocache.computed.key import LOADED, KeyText, ValueKeys
from repocache.computed.loaders import HintLoader, OtherTags, ValueLoader
from repocache.computed.loading import Loading
from repocache.computed.read_through import ReadThrough
from repocache.computed.values import ComputedValues
from repocache.errors import RepocacheError
from repocache.events import CacheFailed
from repocache.invalidation.batch import Batch
from repocache.keys import owner_beside
from repocache.queries.shape import Shape
from repocache.redaction.foreign import in_brief
from repocache.repository.answered import Answered
from repocache.repository.rows import Nodes, answer_of
from repocache.repository.tag_floors import TagFloors
from repocache.repository.tokens import LIVES
from repocache.routing.around import current_session
from repocache.runtime.queries import RunningQueries
from repocache.tags import NAMED, TagKeys


@dataclass(frozen=True, slots=True)
class NodeReading:
    """What readers ask of a database. `owner`: prefix, for events."""

    queries: RunningQueries
    nodes: Nodes
    floors: TagFloors
    owner: str

    def tags(self, statement: SelectBase) -> Mapping[str, Shape]:
        return self.queries.analyst.tags(statement)

    def is_named(self, tag: str) -> bool:
        return tag.startswith(f"{NAMED.prefix}:")

    async def tokens(
        self, tags: Mapping[str, Shape | None], bookmark: Bookmark | None
    ) -> list[str] | None:
        tokens = self.queries.tokens
        return tokens.at_hand(tuple(tags)) or await tokens.read(tags, bookmark)

    async def answer(
        self, statement: SelectBase, want: RowRequest, tags: Sequence[str]
    ) -> Answered:
        above = await self.floors.above(want, tags)
        return await answer_of(self.nodes, statement, above, self.owner)


def open_computed(
    bindings: Mapping[AnyComputed, ComputedBinding], queries: RunningQueries | None, nodes: Nodes
) -> Mapping[AnyComputed, ReadThrough[Any, Any]]:
    """One for each class."""
    if queries is None:
        return {}
    return {each: _opened(binding, queries, nodes) for each, binding in bindings.items()}


def _opened(
    binding: ComputedBinding, queries: RunningQueries, nodes: Nodes
) -> ReadThrough[Any, Any]:
    shared, declared = queries.cache.shared, binding.declared
    owner, loaded = declared.owner, owner_beside(declared.owner, LOADED)
    reading = NodeReading(queries, nodes, TagFloors(shared.records, shared.settler), owner.prefix)
    loading = Loading(declared.uncalled(), reading, shared.spawn)
    policy, others, retry = declared.policy, OtherTags(), queries.cache.retry
    aged = policy.freshness.is_aged
    fingerprint = queries.signing.fingerprint(binding.codec.fingerprint)
    signature = queries.signing.signature(fingerprint)

    async def keep(id: ValueId, want: RowRequest) -> object:
        return await values.read_past_l1(id, want.bookmark)

    hints = TieredCache(
        Source(
            TagKeys(owner),
            fingerprint,
            hint_policy(policy),
            HintCodec(),
            HintLoader(loading.compute, keep, others).load,
            _first,
            signature,
            alone=True,
            entity=lambda row: Hint(*row),
            conditional=aged,
        ),
        shared,
        current_session,
    )

    async def made_anew(id: ValueId) -> None:
        old = {loaded.prefix: frozenset((f"{loaded.prefix}:{id}",))}
        batch = _only(owner.prefix, id.text) | Batch(old)
        try:
            await retry.deliver(batch)
            await hints.read_past_l1(id.text, None)
        except RepocacheError as error:
            shared.observe(CacheFailed("hint", in_brief(error)))
            retry.add(batch)

    def replace_hint(id: ValueId, tags: Tags) -> None:
        others.note(str(id.text), tags)
        shared.spawn(made_anew(id))

    loader = ValueLoader(
        loading.compute,
        keep=keep,
        forget=lambda text: retry.add(_only(owner.prefix, text)),
        replace=replace_hint,
        touch=hints.renew if aged else _let_be,
    )
    values = TieredCache(
        Source(
            ValueKeys(loaded),
            fingerprint,
            policy,
            binding.codec,
            loader.load,
            _first,
            signature,
            alone=True,
            entity=lambda row: row[1],
            conditional=declared.refreshes(),
        ),
        shared,
        current_session,
    )
    return declared(
        ComputedValues(
            binding.keys,
            hints=hints,
            values=values,
            tokens=queries.tokens,
            asking=nodes.routing.asking,
        )
    )


def hint_policy(policy: Policy) -> Policy:
    """How hints of values with this policy are kept. Where values may be given past their time,
    hints live longer than any, and each value that is computed lengthens its own's life: without
    one, who reads would have to wait for the load."""
    fresh, life = policy.freshness, policy.ttl
    if fresh.is_aged:
        life = min(LIVES * (policy.ttl + fresh.beyond), LONGEST_TTL)
    return replace(
        policy,
        ttl=life,
        negative_ttl=0.0,
        freshness=Freshness(
            hard_timeout=fresh.hard_timeout, ttl_of=partial(hint_life, policy.negative_ttl)
        ),
    )


def _only(prefix: str, text: KeyText) -> Batch:
    return Batch({prefix: frozenset((str(text),))})


def _let_be(_text: KeyText) -> None:
    pass


def _first(row: Sequence[Any]) -> Any:
    return row[0]
