"""The lines of an answer: what it may be kept for, its ETag, its tags; and what its preconditions
lead to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from repocache.http.asgi import HeaderLine
from repocache.http.caching.cache_status import CacheHit, WentOn, with_status
from repocache.http.caching.conditional import (
    ConditionalAnswer,
    Current,
    answer,
    not_modified_lines,
)
from repocache.http.caching.dates import read_date
from repocache.http.caching.directives import cache_control, targeted
from repocache.http.caching.etags import Representation, body_etag, versions_etag
from repocache.http.caching.policy import Etag, Public, RoutePolicy
from repocache.http.caching.rendering import Made
from repocache.http.caching.responding import Response
from repocache.http.caching.vary import with_vary
from repocache.http.caching.verdict import KeepVerdict, lasts


class AnswerStamp(NamedTuple):
    """What is said beside the application's own lines. `etag`: None: none, or the application's."""

    held: KeepVerdict
    etag: bytes | None
    tags: Sequence[HeaderLine]
    status: CacheHit | WentOn


class Request(Protocol):
    """See `exchange.HttpRequest`."""

    @property
    def method(self) -> str: ...

    @property
    def lines(self) -> Sequence[HeaderLine]: ...

    @property
    def of(self) -> Representation: ...


def stamped(own: Iterable[HeaderLine], told: AnswerStamp) -> list[HeaderLine]:
    """The application's lines with these."""
    held, policy = told.held, told.held.policy
    lines = with_vary(own, policy.vary)
    if not held.says_itself:
        said = (b"cache-control", cache_control(policy))
        lines = [line for line in lines if line[0] != b"cache-control"] + [said]
        lines = [line for line in lines if not _overrules(line[0], policy)]
        lines += targeted(policy)
    if told.etag is not None:
        lines = [line for line in lines if line[0] != b"etag"] + [(b"etag", told.etag)]
    return with_status([*lines, *told.tags], told.status)


def _overrules(name: bytes, policy: RoutePolicy) -> bool:
    """A targeted field would overrule `private` (RFC 9213, 2.2), and so would its forerunners."""
    older = (b"surrogate-control", b"x-accel-expires")
    return name.endswith(b"-cache-control") or (name in older and not isinstance(policy, Public))


def etag_of_answer(of: Representation, made: Made, held: KeepVerdict) -> bytes:
    """Of the versions of what was read, where they are all known, anybody may have it, and the
    policy names what it varies by; else of the bytes: equal bytes are the same, whoever asks.
    Empty: none."""
    policy, response, trace = held.policy, made.response, made.trace
    if policy.etag is Etag.NONE or response.status != 200:
        return b""
    read = bool(trace.rows or trace.tokens)
    told = isinstance(policy, Public) and lasts(response.lines, policy)
    if policy.etag is Etag.VERSIONS and told and read:
        return versions_etag(_coded(of, response), [made.version])
    return body_etag(_coded(of, response), response.body) if response.body else b""


def _coded(of: Representation, response: Response) -> Representation:
    codings = b",".join(value for name, value in response.lines if name == b"content-encoding")
    return Representation(url=of.url, variant=of.variant, subject=of.subject, coding=codings)


def answered(
    asked: Request,
    made: Made,
    held: KeepVerdict,
    tags: Sequence[HeaderLine],
    status: CacheHit | WentOn,
) -> Response:
    """The response, or what the request's preconditions make of it (RFC 9110, 13.2.2)."""
    response = made.response
    own = [value for name, value in response.lines if name == b"etag"]
    etag = own[0] if own else etag_of_answer(asked.of, made, held) or None
    told = AnswerStamp(held, None if own else etag, tags, status)
    lines = stamped(response.lines, told)
    modified = [read_date(value) for name, value in response.lines if name == b"last-modified"]
    current = Current(etag, modified[0] if modified else None)
    found = answer(asked.method, asked.lines, current, response.status)
    if found is ConditionalAnswer.NOT_MODIFIED:
        return Response(304, tuple(not_modified_lines(lines)))
    if found is ConditionalAnswer.PRECONDITION_FAILED:
        return Response(412, ((b"cache-control", b"no-store"), (b"content-length", b"0")))
    body = b"" if asked.method == "HEAD" else response.body
    return Response(response.status, tuple(lines), body)
