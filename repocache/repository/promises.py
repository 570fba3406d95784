"""What a repository's policy promises, and what it therefore refuses. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from repocache.cache.policies import CacheAside, Policy
from repocache.errors import ConfigurationError, UsageError
from repocache.repository.binding import Binding


def check_told(name: str, policy: Policy) -> None:
    """Raises UsageError for a repository whose commits tell nobody what changed."""
    if not policy.tells_changes:
        raise UsageError(
            f"invalidations({name}): under its policy, {policy!r}, commits tell nobody what they "
            "changed: give CacheAside, or WriteAround(fill=False) for rows that are told and not "
            "cached"
        )


def check_replicas(name: str, policy: Policy) -> None:
    """Raises UsageError for one whose reads are never older than a commit."""
    if not policy.fills_from_replicas:
        raise UsageError(
            f"{name}.on_replica(): its policy, {policy!r}, promises that nothing read is older "
            "than what was committed, and a replica lags: read without it, or declare a second "
            "repository of the class, with an owner and a policy of its own"
        )


def check_lists(name: str, policy: Policy) -> None:
    """Raises UsageError for one whose lists are the primary's."""
    if policy.primary_alone:
        raise UsageError(
            f"{name}.cached(): its policy, {policy!r}, promises that lists are the primary's, and "
            "cached ones are not: read without it, or give another policy"
        )


def check_computed(name: str, policy: object) -> None:
    """Raises ConfigurationError for the policy of a computed value that is not cache-aside: nobody
    writes one."""
    if not isinstance(policy, CacheAside):
        raise ConfigurationError(
            f"{name}.policy={policy!r}: nobody writes computed values, so that no commit can store "
            "them: give `CacheAside(...)`"
        )


def asides(registry: Iterable[tuple[Any, Binding[Any]]]) -> Mapping[str, float]:
    """Owners whose rows are kept aside when they are taken away, and for how many seconds."""
    cached = [each for repository, own in registry for each in own.cached(repository.policy)]
    lives = {keys.prefix: policy.freshness.fail_safe for keys, _, policy in cached}
    return {prefix: seconds for prefix, seconds in lives.items() if seconds}
