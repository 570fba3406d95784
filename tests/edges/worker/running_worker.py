"""The Worker in the real workerd, before an origin of this process."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from repocache.testing.ports import free_port

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WORKER = ROOT / "repocache" / "edges" / "config"
FILES = ("worker.js", "asking.js", "bodies.js", "marks.js", "rules.js")
"""The first is the Worker, which imports the others."""
SECRET = base64.b64encode(b"a secret of the tests alone").decode()
MARKS = {"MARKS": {"className": "Marks", "useSQLite": True}}
TRIES = 5

Handler = Callable[[Request], Awaitable[Response]]
Change = tuple[str, str, str]
"""A file of the Worker, what stands there once, and what stands there instead."""


def installed() -> Path:
    """The folder of the packages of `package.json`, which is made at the first use. Skips where
    there is no Node, or no registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed")
    lock = (HERE / "package-lock.json").read_bytes()
    folder = ROOT / ".venv-worker" / hashlib.sha256(lock).hexdigest()[:16]
    if folder.exists():
        return folder
    made = folder.with_name(f"{folder.name}-{os.getpid()}")
    made.mkdir(parents=True)
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, made)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=made, check=False, capture_output=True, text=True, timeout=100
        )
        if done.returncode:
            pytest.skip(f"npm has not installed miniflare: {done.stderr.strip()[-200:]}")
        with suppress(OSError):  # another process was faster
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def named(headers: Mapping[str, str]) -> dict[str, str]:
    """With `-` where names of arguments have `_`."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Origin:
    """`address`: of a server of this process; `at`: who answers a path; `seen`: what came. A
    WebSocket is told its path after its own first word."""

    address: str
    at: dict[str, Handler] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            socket = WebSocket(scope, receive, send)
            await socket.accept()
            await socket.send_text(f"{await socket.receive_text()} {socket.url.path}")
            await socket.close()
            return
        request = Request(scope, receive)
        self.seen.append(request)
        handler = self.at.get(request.url.path)
        answer = Response("no such page", 404) if handler is None else await handler(request)
        await answer(scope, receive, send)

    def give(self, path: str, text: str | bytes, status: int = 200, /, **headers: str) -> None:
        """The same to all; in names of headers `_` stands for `-`."""

        async def same(request: Request) -> Response:
            return Response(text, status, named(headers))

        self.at[path] = same

    def hold(
        self, path: str, text: str, status: int = 200, /, **headers: str
    ) -> tuple[asyncio.Event, asyncio.Event]:
        """It answers when it is let: that it was asked, and that it may answer."""
        asked, told = asyncio.Event(), asyncio.Event()

        async def slow(request: Request) -> Response:
            asked.set()
            await told.wait()
            return Response(text, status, named(headers))

        self.at[path] = slow
        return asked, told

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.seen if request.url.path == path]


@asynccontextmanager
async def serving() -> AsyncIterator[Origin]:
    for _ in range(TRIES):
        port = free_port()
        origin = Origin(f"http://127.0.0.1:{port}")
        config = uvicorn.Config(
            origin, host="127.0.0.1", port=port, log_level="critical", lifespan="off"
        )
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve())
        while not (server.started or running.done()):  # noqa: ASYNC110  # it has no event for it
            await asyncio.sleep(0.01)
        if server.started:
            break
        with suppress(SystemExit):
            running.result()
    else:
        pytest.fail("no port for the origin")
    try:
        yield origin
    finally:
        server.should_exit = server.force_exit = True
        await running


def sources(changes: Sequence[Change]) -> list[dict[str, str]]:
    texts = {name: (WORKER / name).read_text() for name in FILES}
    for name, old, new in changes:
        assert texts[name].count(old) == 1, f"{name} has not one {old}"
        texts[name] = texts[name].replace(old, new)
    return [{"type": "ESModule", "path": name, "contents": text} for name, text in texts.items()]


async def ended(process: asyncio.subprocess.Process) -> None:
    """Asked, and if it does not, with all of its group, whose id is its own."""
    assert process.stdin is not None
    process.stdin.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            await process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def running(
    folder: Path,
    bindings: Mapping[str, str],
    changes: Sequence[Change] = (),
    more: Mapping[str, object] | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the Worker. `folder`: where its packages are; `more`: of miniflare's options."""
    options = {
        "modules": sources(changes),
        "compatibilityDate": "2025-09-01",
        "host": "127.0.0.1",
        "cf": False,
        "bindings": {"PURGE_SECRET": f"whsec_{SECRET}", "MARKS_SECONDS": "0", **bindings},
        "durableObjects": MARKS,
        **(more or {}),
    }
    said: dict[str, str] = {}
    for _ in range(TRIES):
        # What the runtime leaves behind, whatever ends it.
        scratch = tempfile.mkdtemp(prefix="repocache-worker-")
        process = await asyncio.create_subprocess_exec(
            "node",
            str(HERE / "serve.mjs"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PACKAGES": str(folder), "TMPDIR": scratch},
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({**options, "port": free_port()}).encode() + b"\n")
            async with asyncio.timeout(60):
                said = json.loads(await process.stdout.readline() or "{}")
            if "address" in said:
                async with httpx.AsyncClient(base_url=said["address"], timeout=60) as client:
                    yield client
                return
        finally:
            await ended(process)
            shutil.rmtree(scratch, ignore_errors=True)
    pytest.fail(f"workerd has not started: {said}")


def signed(
    body: bytes, id: str | None = None, at: float = 0, secret: str = SECRET
) -> dict[str, str]:
    """The headers of Standard Webhooks. `at`: seconds from now."""
    name, stamp = id or secrets.token_hex(8), str(int(time.time() + at))
    told = f"{name}.{stamp}.".encode() + body
    mac = hmac.digest(base64.b64decode(secret), told, "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


async def purged(client: httpx.AsyncClient, *tags: str, **more: object) -> None:
    body = json.dumps({"tags": tags, **more}).encode()
    answer = await client.post("/__repocache/purge", content=body, headers=signed(body))
    assert answer.status_code == 204, answer.text


def status(answer: httpx.Response) -> str:
    """What the Worker says of itself, without the time that is left."""
    told = answer.headers["cache-status"].split(", ")[-1]
    name, *parts = told.split("; ")
    assert name == "repocache-worker"
    return "; ".join(part for part in parts if not part.startswith("ttl="))
