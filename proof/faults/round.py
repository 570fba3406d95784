"""One round: links, workers, traffic, what goes wrong meanwhile, and what the caches hold when all
is well again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from proof.faults.damage import bad_server, bad_weather
from proof.faults.failover import LOST_SECONDS, Failover, stream_through
from proof.faults.ground import Ground
from proof.faults.items import KEYS
from proof.faults.link import Link
from proof.faults.process import Process, WorkerFailed
from proof.faults.records import Ending, Fault, Initial, Recorder, now
from proof.faults.schedule import LINKS, Planned, schedule, spare_redis
from proof.faults.services import SERVICES, Service
from proof.faults.traffic import Guest
from proof.faults.worker import Setup

RIGHT_WITHIN = 5.0
"""Seconds after the last fault within which every cache is to be right."""
READ_WITHIN = 60.0
"""Seconds for a copy to read what its process was told of meanwhile: one change after the other,
however many."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds`: of traffic. `folder`: for the history. `off`: a rule that all workers live
    without. `every`: seconds between two faults. `watched`: the table has its trigger, and is
    written from outside too. `policy`: one of POLICIES. `signed`: bookmarks are. `peace`: nobody
    writes a whole owner, and Redis is spared
    from the failover on. `workers`: by name, how each is set. `faults`: in the seed's place."""

    seed: str
    seconds: float
    folder: Path
    off: str = ""
    every: float = 1.0
    watched: bool = False
    policy: str = "aside"
    signed: bool = False
    peace: bool = False
    workers: Mapping[str, Service] = field(default_factory=lambda: SERVICES)
    faults: Sequence[Planned] | None = None


class Round:
    """`await Round(ground, plan).run()`; the history is in the plan's folder then."""

    def __init__(self, ground: Ground, plan: Plan) -> None:
        self._ground = ground
        self._servers = ground.servers
        self._plan = plan
        self._chance = random.Random(plan.seed)
        self._links: dict[str, Link] = {}
        self._processes: dict[str, Process] = {}
        self._lives = dict.fromkeys(plan.workers, 0)
        self._locks = {name: asyncio.Lock() for name in plan.workers}
        plan.folder.mkdir(parents=True)
        self._recorder = Recorder(plan.folder / "conductor.jsonl")

    async def run(self) -> None:
        """Raises WorkerFailed, or TimeoutError, if a worker dies unasked."""
        plan = self._plan
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._kill_all)
            await self._open_links(stack)
            await asyncio.to_thread(self._ground.watch, watched=plan.watched)
            await stack.enter_async_context(self._streams())
            for id, version, token in await self._rows():
                self._recorder.tell(Initial(id, version, token))
            await asyncio.gather(*(self._start(name) for name in plan.workers))
            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(process.ask("begin") for process in self._processes.values()))
            faults = plan.faults
            if faults is None:
                faults = schedule(plan.seed, plan.seconds, list(plan.workers), plan.every)
                faults = [each for each in faults if plan.policy != "strict" or not each.forgetting]
                faults = spare_redis(faults, plan.seconds) if plan.peace else faults
            async with asyncio.TaskGroup() as group:
                for planned in faults:
                    group.create_task(self._inflict(planned, began))
                await asyncio.sleep(began + plan.seconds - asyncio.get_running_loop().time())
            lifted = asyncio.get_running_loop().time()
            await asyncio.gather(*(process.ask("calm") for process in self._processes.values()))
            await self._compare(lifted)
            await asyncio.gather(*(process.ask("finish") for process in self._processes.values()))
            self._recorder.flush()

    async def _open_links(self, stack: AsyncExitStack) -> None:
        ends = self._servers.endpoints()
        urls = dict(zip(LINKS, (ends.redis, ends.primary, *ends.replicas), strict=True))
        for worker in self._plan.workers:
            for name, url in urls.items():
                self._links[f"{worker}-{name}"] = await stack.enter_async_context(Link(url))

    @asynccontextmanager
    async def _streams(self) -> AsyncIterator[None]:
        """The replicas stream through links of their own, as long as the round lasts."""
        primary = self._servers.primary.url(user="postgres")
        async with AsyncExitStack() as stack:
            for number, replica in enumerate(self._servers.replicas, 1):
                link = self._links[f"stream{number}"] = await stack.enter_async_context(
                    Link(primary)
                )
                await asyncio.to_thread(stream_through, replica, link.url)
            try:
                yield
            finally:
                primary = self._servers.primary.url(user="postgres")
                for replica in self._servers.replicas:
                    await asyncio.to_thread(stream_through, replica, primary)

    async def _start(self, name: str) -> None:
        """The worker's next life. It tells under a name of its own."""
        self._lives[name] += 1
        life = f"{name}.{self._lives[name]}"
        setup = Setup(
            name=life,
            primary=_plain(self._links[f"{name}-primary"].url),
            replicas=tuple(
                _plain(self._links[f"{name}-{replica}"].url) for replica in ("replica1", "replica2")
            ),
            redis=self._links[f"{name}-redis"].url,
            history=str(self._plan.folder / f"{life}.jsonl"),
            seed=self._chance.randrange(2**31),
            service=self._plan.workers[name],
            signed=self._plan.signed,
            peace=self._plan.peace,
            off=self._plan.off,
            outside=self._plan.watched,
            policy=self._plan.policy,
        )
        self._processes[name] = await Process.start(setup, self._hand_over)

    def _hand_over(self, guest: Guest) -> None:
        if guest.after:
            asyncio.get_running_loop().call_later(guest.after, self._deliver, guest)
        else:
            self._deliver(guest)

    def _deliver(self, guest: Guest) -> None:
        others = [process for process in self._processes.values() if process.alive]
        if others:
            self._chance.choice(others).tell("guest", msgspec.to_builtins(guest))

    async def _inflict(self, planned: Planned, began: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(began + planned.at - loop.time())
        start = now()
        async with self._damage(planned):
            await asyncio.sleep(began + planned.at + planned.seconds - loop.time())
        self._recorder.tell(Fault(f"{planned.area}: {planned.kind}", planned.target, start, now()))

    @asynccontextmanager
    async def _damage(self, planned: Planned) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if planned.area == "worker":
                await stack.enter_async_context(self._bad_worker(planned))
            elif planned.area in ("link", "stream"):
                await stack.enter_async_context(bad_weather(self._links[planned.target], planned))
            elif planned.area == "island":
                worker = planned.target.partition("-")[0]
                for name in LINKS:
                    await stack.enter_async_context(
                        bad_weather(self._links[f"{worker}-{name}"], planned)
                    )
            elif planned.area == "cluster":
                await stack.enter_async_context(self._failover().happens(planned))
            elif planned.kind == "fail over":
                await stack.enter_async_context(self._redis_fails_over())
            else:
                await stack.enter_async_context(bad_server(self._servers, planned))
            yield

    @asynccontextmanager
    async def _redis_fails_over(self) -> AsyncIterator[None]:
        """With the loss of what it was told in the last moments."""
        await asyncio.to_thread(self._ground.spare.catch_up, self._servers.redis)
        await asyncio.to_thread(self._ground.spare.pause_replication)
        await asyncio.sleep(LOST_SECONDS)
        await asyncio.to_thread(self._ground.lose_redis)
        await self._lead("redis", self._servers.redis.url, True)
        try:
            yield
        finally:
            await asyncio.to_thread(self._ground.follow_redis)

    def _failover(self) -> Failover:
        streams = [self._links[f"stream{number}"] for number in (1, 2)]
        return Failover(self._ground, self._recorder, streams, self._lead)

    async def _lead(self, name: str, url: str, at_once: bool) -> None:
        """Everybody's link of this name to another server; connections stay open unless
        `at_once`."""
        for worker in self._plan.workers:
            link = self._links[f"{worker}-{name}"]
            link.lead_to(url)
            if at_once:
                await link.reset()

    @asynccontextmanager
    async def _bad_worker(self, planned: Planned) -> AsyncIterator[None]:
        """One thing after the other: a new life may take long to begin."""
        async with self._locks[planned.target]:
            process = self._processes[planned.target]
            if planned.kind == "freeze":
                process.freeze()
                try:
                    yield
                finally:
                    process.thaw()
            else:
                await (process.leave() if planned.kind == "leave" else process.kill())
                try:
                    yield
                finally:
                    # A start needs the primary, which may be away itself at the moment.
                    while not process.alive:
                        process = await self._revived(planned.target)

    async def _revived(self, name: str) -> Process:
        try:
            await self._start(name)
            await self._processes[name].ask("begin")
        except WorkerFailed:
            await asyncio.sleep(0.2)
        return self._processes[name]

    async def _compare(self, lifted: float) -> None:
        """Ask every process for everything in each tier, until all of it is the primary's or the
        time is over."""
        loop = asyncio.get_running_loop()
        truth = [version for _, version, _ in await self._rows()]
        while True:
            held = await self._held()
            seconds = loop.time() - lifted
            right = all(versions == truth for versions in held.values())
            waiting = await asyncio.gather(
                *(process.ask("undelivered") for process in self._processes.values())
            )
            behind = await asyncio.gather(
                *(process.ask("behind") for process in self._processes.values())
            )
            if (right and not any(waiting)) or seconds > (
                READ_WITHIN if any(behind) else RIGHT_WITHIN
            ):
                break
            await asyncio.sleep(0.1)
        for (name, tier), versions in held.items():
            recorder = Recorder(self._plan.folder / f"{name}.jsonl")
            for key, version, true in zip(KEYS, versions, truth, strict=True):
                recorder.tell(Ending(tier, key, version, true, round(seconds, 3)))
            recorder.flush()

    async def _held(self) -> dict[tuple[str, str], list[int]]:
        held = {}
        processes = list(self._processes.values())
        for tier in ("l1", "l2", "list", "feed"):
            asked = (process.ask("everything", ids=list(KEYS), tier=tier) for process in processes)
            for process, versions in zip(processes, await asyncio.gather(*asked), strict=True):
                if versions is not None:
                    held[process.name, tier] = versions
        return held

    async def _rows(self) -> list[tuple[int, int, str]]:
        query = "SELECT id, version, token FROM item ORDER BY id"
        rows = await asyncio.to_thread(self._servers.primary.sql, query)
        return [(int(id), int(version), token) for id, version, token in rows]

    async def _kill_all(self) -> None:
        await asyncio.gather(*(process.kill() for process in self._processes.values()))


def _plain(url: str) -> str:
    """Without asking for TLS first: the driver complains aloud of a connection that is lost while
    it asks."""
    return f"{url}?ssl=disable"
