"""GET through the link beside redis-py: calls a second, client CPU and latency, in interleaved
rounds.

    python3 dev.py benchmark wire

`closed`: every caller asks again at once. `think`: every caller sleeps 20 to 60 ms between calls,
as in a server under moderate load; there the median CPU of the sleeping alone is taken off. Medians
over the rounds; `ratio` is to redis-py, with its quartiles.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import redis.asyncio

from repocache.redis_link import Address, Link, ServerFacts
from repocache.testing.embedded import start_redis
from repocache.testing.folder import RunFolder
from repocache.testing.process import Account
from repocache.testing.topology import Layout

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
try:
    from uvloop import new_event_loop
except ImportError:
    pass  # it does not exist everywhere
else:
    LOOPS["uvloop"] = new_event_loop

ROUNDS = 9
SECONDS = 0.6
THINKING_SECONDS = 2.0
THINK = (0.02, 0.06)
KEYS = [b"app:{b%d}:5f3a9c:user:%d" % (number % 1024, number) for number in range(1000)]
VALUE = bytes(300)
YARDSTICK = "redis-py GET"

Get = Callable[[bytes], Awaitable[object]]


@dataclass(frozen=True)
class Measured:
    """One contestant in one round."""

    calls: float
    cpu: float
    p50: float
    p99: float


class Unheard:
    """No channel, no news."""

    def up(self, facts: ServerFacts) -> None: ...

    def down(self, reason: str) -> None: ...

    def push(self, channel: bytes, payload: bytes) -> None: ...

    def on_error(self, text: str) -> None:
        print(text)


@asynccontextmanager
async def redis_py(url: str) -> AsyncIterator[Get]:
    async with redis.asyncio.Redis.from_url(url, max_connections=1000) as client:
        yield client.get


@asynccontextmanager
async def link(url: str) -> AsyncIterator[Get]:
    async with Link(Address.parse(url), Unheard(), channels=["news"]) as connected:
        call = connected.call
        yield lambda key: call("GET", key)


@asynccontextmanager
async def nothing(_url: str) -> AsyncIterator[Get]:
    async def get(_key: bytes) -> None:
        pass

    yield get


CONTESTANTS: dict[str, Callable[[str], AbstractAsyncContextManager[Get]]] = {
    YARDSTICK: redis_py,
    "link": link,
}


async def measure(get: Get, callers: int, think: bool) -> Measured:
    draw = random.Random(callers)
    latencies: list[float] = []
    clock = time.perf_counter

    async def ask(deadline: float) -> None:
        while (begin := clock()) < deadline:
            await get(draw.choice(KEYS))
            latencies.append(clock() - begin)
            if think:
                await asyncio.sleep(draw.uniform(*THINK))

    # Connections, caches, the branch predictor.
    await asyncio.gather(*(get(KEYS[0]) for _ in range(callers)))
    cpu, begin = time.process_time(), clock()
    deadline = begin + (THINKING_SECONDS if think else SECONDS)
    await asyncio.gather(*(ask(deadline) for _ in range(callers)))
    seconds, cpu = clock() - begin, time.process_time() - cpu
    cuts = statistics.quantiles(latencies, n=100)
    return Measured(
        len(latencies) / seconds, cpu / len(latencies) * 1e6, cuts[49] * 1e6, cuts[98] * 1e6
    )


async def cell(url: str, callers: int, think: bool) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {name: [] for name in CONTESTANTS}
    idle = [0.0]
    for turn in range(ROUNDS):
        if think:
            async with nothing(url) as get:
                idle.append((await measure(get, callers, think)).cpu)
        order = list(CONTESTANTS)
        for name in order if turn % 2 else reversed(order):
            async with CONTESTANTS[name](url) as get:
                found[name].append(await measure(get, callers, think))
    slept = statistics.median(idle[1:] or idle)
    return {
        name: [replace(one, cpu=one.cpu - slept) for one in rounds]
        for name, rounds in found.items()
    }


def show(title: str, found: dict[str, list[Measured]]) -> None:
    for name, rounds in found.items():
        calls, cpu, p50, p99 = (
            statistics.median(getattr(one, field) for one in rounds)
            for field in ("calls", "cpu", "p50", "p99")
        )
        row = f"{title:<20}{name:<14}{calls:>9,.0f}{cpu:>9.1f}{p50:>9,.0f}{p99:>9,.0f}"
        if name != YARDSTICK:
            pairs = list(zip(rounds, found[YARDSTICK], strict=True))
            row += quartiles([ours.calls / theirs.calls for ours, theirs in pairs])
            row += quartiles([ours.cpu / theirs.cpu for ours, theirs in pairs])
        print(row)


def quartiles(ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:>8.2f} [{low:.2f} .. {high:.2f}]"


def main() -> None:
    account = Account.unprivileged()
    with ExitStack() as stack:
        folder = stack.enter_context(RunFolder(account))
        server = start_redis(stack, folder, account, Layout())
        for key in KEYS:
            server.command("SET", key.decode(), VALUE.decode())
        head = f"{'':<20}{'':<14}{'calls/s':>9}{'CPU us':>9}{'p50 us':>9}{'p99 us':>9}"
        print(f"{head}{'calls ratio':>23}{'CPU ratio':>23}")
        for name, new_loop in LOOPS.items():
            for callers, think in ((1, False), (64, False), (256, False), (64, True), (256, True)):
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    found = runner.run(cell(server.url, callers, think))
                show(f"{name} {'think' if think else 'closed'} {callers}", found)


if __name__ == "__main__":
    main()
