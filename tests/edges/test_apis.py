"""The fits that speak to an API, each to one that is played strictly by its documentation."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from repocache.edges.cloudflare import Cloudflare
from repocache.edges.edge import Edge, EdgeLimits
from repocache.edges.exchange import MOST, EdgeAnswer, new_client, retry_after, verdict
from repocache.edges.fastly import Fastly
from repocache.edges.nginx import NginxPurge
from repocache.edges.varnish import Varnish
from repocache.edges.webhook import Webhook, key_of, signature
from repocache.errors import ConfigurationError, EdgeFailed, EdgeRefused, EdgeUnavailable
from tests.edges.playing import (
    SECRET,
    SERVICE,
    TOKEN,
    ZONE,
    Playing,
    failing,
    hanging_up,
    saying,
)
from tests.edges.speaking import Answer, Asked, Said, Speaking, listen, read_one, speaking

NAMES = ["shop.user:7", "shop.user:*"]
Fit = Callable[[Playing, str], tuple[Answer, Edge]]


def fastly(playing: Playing, url: str) -> tuple[Answer, Edge]:
    return playing.fastly, Fastly(SERVICE, TOKEN, url=url)


def cloudflare(playing: Playing, url: str) -> tuple[Answer, Edge]:
    return playing.cloudflare, Cloudflare(ZONE, TOKEN, url=url)


def webhook(playing: Playing, url: str) -> tuple[Answer, Edge]:
    return playing.webhook, Webhook(f"{url}/purge", SECRET)


ALL = pytest.mark.parametrize("fit", [fastly, cloudflare, webhook])


async def purged(fit: Fit, playing: Playing, names: list[str]) -> tuple[Edge, Speaking]:
    async def answer(asked: Asked) -> Said:
        return await fit(playing, "http://unused")[0](asked)

    async with speaking(answer) as server:
        edge = fit(playing, server.url)[1]
        async with new_client() as client:
            await edge.purge(client, names)
    return edge, server


async def failure(fit: Fit, trouble: Callable[[], Awaitable[Said]]) -> EdgeFailed:
    with pytest.raises(EdgeFailed) as failed:
        await purged(fit, Playing(troubles=[trouble]), NAMES)
    told = f"{failed.value!r} {failed.value} {failed.value.__cause__!r}"
    assert TOKEN not in told
    assert SECRET not in told
    return failed.value


@ALL
async def test_it_takes_names_up_to_its_limit(fit: Fit) -> None:
    playing = Playing()
    edge, _ = await purged(fit, playing, NAMES)
    many = [f"shop.user:{n}" for n in range(edge.limits.most_tags_a_request)]
    await purged(fit, playing, many)
    assert playing.purged == [NAMES, many]


@pytest.mark.parametrize("fit", [fastly, cloudflare])
async def test_beyond_its_limit_it_refuses(fit: Fit) -> None:
    """So that the limit is known to be the API's."""
    edge = fit(Playing(), "http://unused")[1]
    many = [f"shop.user:{n}" for n in range(edge.limits.most_tags_a_request + 1)]
    with pytest.raises(EdgeRefused, match="400"):
        await purged(fit, Playing(), many)


@ALL
@pytest.mark.parametrize("status", [400, 401, 403, 404, 301, 410])
async def test_what_trying_does_not_help_is_refused(fit: Fit, status: int) -> None:
    found = await failure(fit, saying(status, {"msg": TOKEN}, location="http://127.0.0.1:1/"))
    assert isinstance(found, EdgeRefused)
    assert f"{found}" == f"status {status}"


@ALL
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_trying_may_help_is_unavailable(fit: Fit, status: int) -> None:
    found = await failure(fit, saying(status, {}, retry_after="17"))
    assert isinstance(found, EdgeUnavailable)
    assert found.retry_after == 17
    found = await failure(fit, saying(status, {}))
    assert isinstance(found, EdgeUnavailable)
    assert found.retry_after is None


@ALL
async def test_a_connection_that_is_reset_is_unavailable(fit: Fit) -> None:
    assert isinstance(await failure(fit, hanging_up), EdgeUnavailable)


@ALL
async def test_no_server_is_unavailable(fit: Fit) -> None:
    async with speaking(Playing().fastly) as server:
        pass
    with pytest.raises(EdgeUnavailable, match="ConnectError"):
        async with new_client() as client:
            await fit(Playing(), server.url)[1].purge(client, NAMES)


@pytest.mark.parametrize("fit, edge", [
    (fastly, Fastly(SERVICE, "wrong")), (fastly, Fastly("other", TOKEN)),
    (cloudflare, Cloudflare(ZONE, "wrong")), (cloudflare, Cloudflare("other", TOKEN)),
    (webhook, Webhook("http://unused", SECRET[:-8] + "AAAAAAA=")),
])  # fmt: skip
async def test_a_wrong_token_or_id_is_refused(fit: Fit, edge: Any) -> None:
    def other(playing: Playing, url: str) -> tuple[Answer, Edge]:
        return fit(playing, url)[0], replace(edge, url=url)

    with pytest.raises(EdgeRefused, match=r"status 40[134]"):
        await purged(other, Playing(), NAMES)


async def test_fastly_is_asked_softly() -> None:
    def soft(playing: Playing, url: str) -> tuple[Answer, Edge]:
        return playing.fastly, Fastly(SERVICE, TOKEN, soft=True, url=url)

    playing = Playing()
    await purged(soft, playing, NAMES)
    await purged(fastly, playing, NAMES)
    assert playing.soft == [True, False]


async def test_cloudflare_s_success_is_looked_at() -> None:
    found = await failure(cloudflare, saying(200, failing(1094, TOKEN)))
    assert isinstance(found, EdgeRefused)
    assert f"{found}" == "success: false, errors 1094"
    strange: list[object] = [{}, [], None, {"success": "yes"}]
    for said in strange:
        found = await failure(cloudflare, saying(200, said))
        assert isinstance(found, EdgeUnavailable)


async def test_a_webhook_s_message_has_the_standard_s_shape() -> None:
    _, server = await purged(webhook, Playing(), NAMES)
    [asked] = server.asked
    said = json.loads(asked.body)
    assert asked.path == "/purge"
    assert said["type"] == "repocache.edge.purge"
    assert said["data"] == {"tags": NAMES}
    moment = datetime.datetime.fromisoformat(said["timestamp"])
    assert int(moment.timestamp()) == int(asked.headers["webhook-timestamp"])
    assert "." not in asked.headers["webhook-id"]


def test_a_signature_is_that_of_the_specification() -> None:
    """Its example, with the secret that its libraries are tested with."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == expected


@pytest.mark.parametrize("secret", [
    "", "whsec_", "whsec_%%%", TOKEN, None, b"whsec_" + b"A" * 32,
    "whsec_" + base64.b64encode(b"a" * 23).decode(),
    "whsec_" + base64.b64encode(b"a" * 65).decode(),
])  # fmt: skip
def test_a_webhook_s_secret_has_24_to_64_bytes(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="24 to 64") as failed:
        Webhook("http://127.0.0.1", secret)
    assert len(secret or "") < 10 or str(secret) not in f"{failed.value}"


EDGES: tuple[Edge, ...] = (
    Varnish("http://varnish:6081", secret=TOKEN),
    Fastly(SERVICE, TOKEN),
    Cloudflare(ZONE, TOKEN),
    Webhook("https://hooks.example/purge", SECRET),
)


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.name)
def test_a_secret_is_never_shown(edge: Edge) -> None:
    for told in (repr(edge), str(edge), edge.name):
        assert TOKEN not in told
        assert SECRET not in told
        assert repr(key_of(SECRET)) not in told


@pytest.mark.parametrize("make", [
    lambda given: Varnish("http://a", secret=given), lambda given: Fastly(SERVICE, given),
    lambda given: Cloudflare(ZONE, given),
])  # fmt: skip
@pytest.mark.parametrize("given", ["", "a secret with spaces", "a-secret-\r\nx: y", "é" * 20, 7])
def test_a_secret_that_no_header_holds_is_refused(make: Callable[[Any], Edge], given: Any) -> None:
    with pytest.raises(ConfigurationError) as failed:
        make(given)
    assert not given or str(given) not in f"{failed.value}".replace(" 1 ", "")


@pytest.mark.parametrize("url", [
    "", "varnish:6081", "ftp://a", "http://", "http://a:b@c", "http://a?b", "http://a#b",
    "http://a b",     "http://a:x", "http://a:0", "http://a\n", None, 7,
])  # fmt: skip
@pytest.mark.parametrize("make", [
    Varnish, lambda url: Fastly(SERVICE, TOKEN, url=url),
    lambda url: Cloudflare(ZONE, TOKEN, url=url), lambda url: Webhook(url, SECRET),
    lambda url: NginxPurge(url, lambda tag: []),
])  # fmt: skip
def test_an_address_that_is_none_is_refused(make: Callable[[Any], Edge], url: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"url=\.\.\."):
        make(url)


@pytest.mark.parametrize("given", ["", "a/b", "../x", "a b", "a?b", None])
def test_an_id_that_is_no_part_of_a_path_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="service"):
        Fastly(given, TOKEN)
    with pytest.raises(ConfigurationError, match="zone"):
        Cloudflare(given, TOKEN)


@pytest.mark.parametrize(
    "limits", [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, 0.0), (1, float("nan"), 1)]
)
def test_limits_that_let_nothing_through_are_refused(limits: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigurationError, match="EdgeLimits"):
        EdgeLimits(*limits)


@pytest.mark.parametrize("headers, seconds", [
    ({}, None),
    ({"retry-after": "17"}, 17.0),
    ({"retry-after": "0"}, 0.0),
    ({"retry-after": "Thu, 01 Jan 1970 00:20:00 GMT"}, 200.0),
    ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "9" * 40}, 999_999_999.0),
    ({"retry-after": "²"}, None),
    ({"retry-after": "-1"}, None),
    ({"fastly-ratelimit-reset": "1010"}, 10.0),
    ({"fastly-ratelimit-reset": "nan"}, None),
    ({"fastly-ratelimit-reset": "x"}, None),
])  # fmt: skip
def test_how_long_an_edge_wants_to_be_left_alone(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers, 1_000.0) == seconds


@pytest.mark.parametrize("status", [200, 202, 204])
def test_what_is_done_is_no_failure(status: int) -> None:
    assert verdict(EdgeAnswer(status, {}, b""), 0.0) is None  # type: ignore[func-returns-value]


async def test_an_answer_without_an_end_is_not_read_to_it() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_one(reader)
        writer.write(b"HTTP/1.1 200 -\r\ncontent-length: 1000000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                writer.write(b"x" * 1_000)
                await writer.drain()
        writer.close()

    server, port = await listen(serve)
    async with server, asyncio.timeout(30), new_client() as client:
        with pytest.raises(EdgeUnavailable, match="none of its API"):
            await Cloudflare(ZONE, TOKEN, url=f"http://127.0.0.1:{port}").purge(client, NAMES)


async def test_no_more_of_an_answer_is_read_than_may_be() -> None:
    body = json.dumps({"success": True, "errors": [], "more": "x" * 4 * MOST}).encode()

    async def answer(asked: Asked) -> Said:
        return Said(200, {}, body)

    async with speaking(answer) as server, new_client() as client:
        with pytest.raises(EdgeUnavailable, match="none of its API"):
            await Cloudflare(ZONE, TOKEN, url=server.url).purge(client, NAMES)
