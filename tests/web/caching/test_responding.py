"""A response as a value, and unchanged where it is none."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repocache.errors import HeaderRefused
from repocache.http.asgi import Message, Receive, Scope, Send
from repocache.http.caching.responding import (
    MOST_MESSAGES,
    Response,
    Streamed,
    collect,
)
from tests.web.caching.collecting import (
    BODY,
    MOST,
    START,
    Client,
    body,
    disconnected,
    length,
    says,
    start,
    taken,
)
from tests.web.serving import scope

WHOLE = {
    "at once": ([start(length(2)), body(b"ab")], b"ab"),
    "without a length": ([start(), body(b"ab")], b"ab"),
    "without a word of more": ([start(), {"type": BODY, "body": b"ab"}], b"ab"),
    "empty": ([start(), {"type": BODY}], b""),
    "in pieces that say their length": (
        [start(length(3)), body(b"a", more=True), body(b"bc", more=True), body()],
        b"abc",
    ),
    "just small enough": ([start(), body(b"a" * MOST)], b"a" * MOST),
    "without lines": ([{"type": START, "status": 200}, body(b"a")], b"a"),
    "a bytearray": ([start(), {"type": BODY, "body": bytearray(b"ab")}], b"ab"),
    "304 that says a length": ([start(length(500), status=304), body()], b""),
    "204": ([start(status=204), body()], b""),
    "two equal lengths": ([start(length(1), length(1)), body(b"a")], b"a"),
}


@pytest.mark.parametrize("case", WHOLE)
async def test_a_small_response_is_a_value(case: str) -> None:
    messages, text = WHOLE[case]
    client = Client()
    found = await taken(says(*messages), client)
    assert isinstance(found, Response)
    assert client.wholes == [found]
    assert (found.status, found.body) == (messages[0]["status"], text)
    assert list(found.lines) == messages[0].get("headers", [])


PASSED = {
    "too long": [start(), body(b"a" * (MOST + 1))],
    "says that it is too long": [start(length(MOST + 1)), body(b"a" * (MOST + 1))],
    "too long in pieces": [start(length(5)), body(b"a" * 60, more=True), body(b"b" * 60)],
    "pieces and no length": [start(), body(b"a", more=True), body(b"b", more=True), body()],
    "an empty piece and no length": [start(), body(more=True), body(b"a")],
    "two lengths": [start(length(1), length(2)), body(b"a", more=True), body()],
    "two lengths, of which the other fits": [
        start(length(1), length(2)),
        body(b"a", more=True),
        body(b"b"),
    ],
    "a length that is none": [start((b"content-length", b"+2")), body(b"a", more=True), body(b"b")],
    "events": [start((b"content-type", b"text/event-stream")), body(b"data: 1\n\n")],
    "events, in capitals": [
        start((b"Content-Type", b" Text/Event-Stream; charset=utf-8"), length(1)),
        body(b"a"),
    ],
    "trailers": [
        start(length(1), trailers=True),
        body(b"a"),
        {"type": "http.response.trailers", "headers": [(b"x", b"1")], "more_trailers": False},
    ],
    "a file's path": [start(length(5)), {"type": "http.response.pathsend", "path": "/a"}],
    "a file's handle": [start(), {"type": "http.response.zerocopysend", "file": 7}],
    "early hints": [
        {"type": "http.response.early_hint", "links": [b"</a>"]},
        start(length(1)),
        body(b"a"),
    ],
    "a push": [start(length(1)), {"type": "http.response.push", "path": "/b"}, body(b"a")],
    "debug": [{"type": "http.response.debug", "info": {}}, start(length(1)), body(b"a")],
    "a status below 200": [start(status=103), start(length(1)), body(b"a")],
    "shorter than it says": [start(length(5)), body(b"ab")],
    "longer than it says": [start(length(1)), body(b"ab")],
    "unended": [start(length(5)), body(b"a", more=True)],
    "begun": [start(length(5))],
    "body first": [body(b"a"), start()],
    "unknown": [{"type": "whatever"}, start(), body()],
    "many small pieces": [
        start(length(MOST)),
        *[body(more=True) for _ in range(MOST_MESSAGES)],
        body(b"a" * MOST),
    ],
    "nothing": [],
}


@pytest.mark.parametrize("case", PASSED)
async def test_all_else_is_passed_on_unchanged(case: str) -> None:
    messages = PASSED[case]
    client = Client()
    found = await taken(says(*messages), client)
    statuses = [each["status"] for each in messages if each["type"] == START]
    assert found == Streamed(statuses[0] if statuses else None)
    assert client.messages == messages
    assert all(one is other for one, other in zip(client.messages, messages, strict=True))
    assert client.wholes == []


@pytest.mark.parametrize(
    "case, decided",
    [
        ("events", 1),
        ("trailers", 1),
        ("says that it is too long", 1),
        ("a status below 200", 1),
        ("early hints", 1),
        ("pieces and no length", 2),
        ("an empty piece and no length", 2),
        ("too long in pieces", 3),
    ],
)
async def test_what_is_passed_on_waits_for_nothing(case: str, decided: int) -> None:
    """Each message is there before the application goes on, from the one on that decides."""
    messages, client, seen = PASSED[case], Client(), []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
            seen.append(len(client.messages))

    await taken(app, client)
    expected = range(1, len(messages) + 1)
    assert seen == [0 if at < decided else at for at in expected]


@pytest.mark.parametrize("size", [0, 5, MOST + 1])
async def test_head_says_the_length_of_what_it_has_not(size: int) -> None:
    client = Client()
    found = await taken(says(start(length(size)), body()), client, "HEAD")
    assert found == Response(200, (length(size),), b"")


async def test_a_response_that_is_altered() -> None:
    def alter(response: Response) -> Response:
        return Response(304, ((b"etag", b'"a"'),))

    client = Client(alter)
    found = await taken(says(start(length(2)), body(b"ab")), client)
    assert found == Response(200, (length(2),), b"ab")
    assert client.messages == [
        {"type": START, "status": 304, "headers": [(b"etag", b'"a"')]},
        {"type": BODY, "body": b"", "more_body": False},
    ]


async def test_what_comes_behind_the_end_is_the_servers_to_refuse() -> None:
    client = Client()
    found = await taken(says(start(), body(b"a"), body(b"b"), start(status=500)), client)
    assert isinstance(found, Response)
    assert client.messages[2:] == [body(b"b"), start(status=500)]


@pytest.mark.parametrize(
    "before", [[], [start(length(9))], [start(length(9)), body(b"a", more=True)]]
)
async def test_an_error_leaves_nothing_of_a_response(before: list[Message]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says(*before)(scope, receive, send)
        raise LookupError

    client = Client()
    with pytest.raises(LookupError):
        await taken(app, client)
    assert client.messages == []


async def test_an_error_in_a_stream_leaves_what_was_sent() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"a", more=True))
        raise LookupError

    client = Client()
    with pytest.raises(LookupError):
        await taken(app, client)
    assert client.messages == [start(), body(b"a", more=True)]


async def test_an_error_behind_the_end_leaves_the_response() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says(start(), body(b"a"))(scope, receive, send)
        raise LookupError

    client = Client()
    with pytest.raises(LookupError):
        await taken(app, client)
    assert len(client.wholes) == 1


@pytest.mark.parametrize("before", [[], [start(length(9)), body(b"a", more=True)]])
async def test_cancelled_it_sends_nothing(before: list[Message]) -> None:
    reached = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await says(*before)(scope, receive, send)
        reached.set()
        await asyncio.Event().wait()

    client = Client()
    task = asyncio.create_task(taken(app, client))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.messages == []


async def test_a_send_that_is_given_up_loses_no_other_message() -> None:
    """1. `send` waits for a slow client; 2. the application gives it up, and sends the next."""

    class Slow(Client):
        async def passed(self, message: Message) -> None:
            if message.get("body") == b"slow":
                await asyncio.Event().wait()
            await super().passed(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await send(body(b"slow", more=True))
        await send(body(b"b"))

    client = Slow()
    assert await taken(app, client) == Streamed(200)
    assert client.messages == [start(), body(b"b")]


async def test_two_tasks_of_an_application_keep_their_order() -> None:
    messages = [start(), *[body(b"%d" % at, more=True) for at in range(20)], body()]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            for message in messages:
                group.create_task(send(message))  # type: ignore[arg-type]

    class Slower(Client):
        """The earlier a message, the longer it takes."""

        async def passed(self, message: Message) -> None:
            for _ in range(30 - messages.index(message)):
                await asyncio.sleep(0)
            await super().passed(message)

    client = Slower()
    await taken(app, client)
    assert client.messages == messages


async def test_the_application_hears_of_a_disconnect() -> None:
    """It is asked as ever: what it does then is its own affair."""
    heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(length(9)))
        heard.append((await receive())["type"])

    client = Client()
    assert await collect(app, scope(), disconnected, client, MOST) == Streamed(200)
    assert heard == ["http.disconnect"]
    assert client.messages == [start(length(9))], "unended, for the server to see"


@pytest.mark.parametrize(
    "line",
    [
        (b"location", b"/a\r\nSet-Cookie: sid=1"),
        (b"location", b"/a\nX: 1"),
        (b"location", b"/a\r"),
        (b"location", b"/a\x00"),
        (b"loc\r\nation", b"/a"),
        (b"loc ation", b"/a"),
        (b"location:", b"/a"),
        (b"", b"/a"),
        (b"\xff", b"/a"),
    ],
)
async def test_no_line_ends_early(line: tuple[bytes, bytes]) -> None:
    for messages in ([start(line), body()], [start(line, length(MOST + 1)), body()]):
        client = Client()
        with pytest.raises(HeaderRefused) as error:
            await taken(says(*messages), client)
        assert client.messages == []
        assert "sid=1" not in str(error.value), "what was given is not told"
    with pytest.raises(HeaderRefused):
        Response(200, (line,))


PIECES = st.lists(st.tuples(st.binary(max_size=60), st.booleans()), min_size=1, max_size=5)


@given(PIECES, st.one_of(st.none(), st.integers(0, 150)), st.booleans())
def test_nothing_is_lost_added_or_moved(
    pieces: list[tuple[bytes, bool]], said: int | None, ended: bool
) -> None:
    sent = [body(text, more=True) for text, _ in pieces]
    if ended:
        sent[-1] = body(pieces[-1][0])
    lines = [] if said is None else [length(said)]
    client = Client()
    found = asyncio.run(taken(says(start(*lines), *sent), client))
    text = b"".join(text for text, _ in pieces)
    assert b"".join(each["body"] for each in client.messages[1:]) == text
    if isinstance(found, Response):
        assert len(text) <= MOST
        assert ended
        assert said in (None, len(text))
    else:
        assert client.messages == [start(*lines), *sent]
