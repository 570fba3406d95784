"""The run of one contestant: its service processes, the users who move between them, the faults,
and the history."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from repocache.demo.faults import KILL, Fault
from repocache.demo.history import Entry
from repocache.demo.lag import Lags
from repocache.demo.records import Begin, Handover, Setup, Stop, Told
from repocache.demo.service import ServiceProcess
from repocache.demo.show import Moment, Show
from repocache.demo.tally import Tally
from repocache.demo.traffic import Mix
from repocache.testing import Endpoints, Servers

SHOWN_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class Stage:
    """What is the same for every contestant. `faults`: of the servers; `seconds`: of each one's
    traffic."""

    servers: Servers
    endpoints: Endpoints
    faults: tuple[Fault, ...]
    keys: tuple[str, ...]
    mix: Mix
    seed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """`seconds`: that the traffic lasted; `faults`: when and what, in words."""

    history: list[Entry]
    seconds: float
    faults: list[str]


class Conductor:
    """Runs one contestant, once."""

    def __init__(self, contestant: str, stage: Stage, show: Show) -> None:
        self._contestant = contestant
        self._stage = stage
        self._show = show
        self._stack = AsyncExitStack()
        self._tally = Tally()
        self._history: list[Entry] = []
        self._faults: list[str] = []
        self._services: list[ServiceProcess] = []
        self._turn = 0
        self._now = ""
        self._began = 0.0

    async def run(self) -> RunOutcome:
        """Raises ServiceDied (in a group) if a process ends that was not told to."""
        endpoints = self._stage.endpoints
        async with self._stack, asyncio.TaskGroup() as group:
            lags = await self._stack.enter_async_context(
                Lags(endpoints.primary, endpoints.replicas)
            )
            await self._start_services()
            watching = [group.create_task(service.watch()) for service in self._services]
            showing = group.create_task(self._keep_showing(lags))
            self._began = time.monotonic()
            for service in self._services:
                service.order(Begin())
            for at, do in sorted(self._plan(group), key=lambda step: step[0]):
                await asyncio.sleep(self._began + at * self._stage.seconds - time.monotonic())
                await do()
            await asyncio.sleep(self._began + self._stage.seconds - time.monotonic())
            seconds = time.monotonic() - self._began
            await asyncio.gather(
                *(service.stop(Stop()) for service in self._services if service.alive)
            )
            showing.cancel()
            await asyncio.wait(watching)
        return RunOutcome(self._history, seconds, self._faults)

    async def _start_services(self) -> None:
        names = [f"service{number}" for number in range(1, self._stage.mix.services + 1)]
        async with asyncio.TaskGroup() as starting:
            started = [starting.create_task(self._start(name)) for name in names]
        self._services += [task.result() for task in started]

    async def _start(self, name: str) -> ServiceProcess:
        stage, endpoints = self._stage, self._stage.endpoints
        setup = Setup(
            service=name,
            contestant=self._contestant,
            primary=endpoints.primary,
            replicas=endpoints.replicas,
            redis=endpoints.redis,
            keys=stage.keys,
            mix=stage.mix,
            seed=stage.seed,
        )
        return await self._stack.enter_async_context(ServiceProcess(setup, self._hear))

    def _plan(
        self, group: asyncio.TaskGroup
    ) -> Iterable[tuple[float, Callable[[], Awaitable[None]]]]:
        """Shares of the run, and what is done then."""
        for fault in self._stage.faults:
            yield fault.at, partial(self._strike, fault)
        yield KILL.at, partial(self._replace, group)

    async def _strike(self, fault: Fault) -> None:
        await asyncio.to_thread(fault.do, self._stage.servers)
        self._note(fault.what)
        self._now = "" if fault.over else fault.what

    async def _replace(self, group: asyncio.TaskGroup) -> None:
        """Kill a process; its callers' next visits go to the new one."""
        victim = self._services[KILL.service]
        self._now = f"{victim.name} is killed"
        self._note(self._now)
        await victim.kill()
        self._tally.forget(victim.name)
        successor = await self._start(f"{victim.name}b")
        group.create_task(successor.watch())
        self._services.append(successor)
        successor.order(Begin())
        self._note(f"{successor.name} has taken its place")
        self._now = ""

    def _note(self, what: str) -> None:
        self._faults.append(f"{time.monotonic() - self._began:.1f} s: {what}")

    def _hear(self, process: str, told: Iterable[Told]) -> None:
        for each in told:
            if isinstance(each, Handover):
                self._hand_over(process, each)
            else:
                self._history.append((process, each))
        self._tally.hear(process, told)

    def _hand_over(self, process: str, user: Handover) -> None:
        """To the other processes in turn, as a load balancer would."""
        others = [
            service for service in self._services if service.alive and service.name != process
        ]
        if others:
            self._turn += 1
            others[self._turn % len(others)].order(user)

    async def _keep_showing(self, lags: Lags) -> None:
        while True:
            await asyncio.sleep(SHOWN_EVERY)
            elapsed = time.monotonic() - self._began
            services = {service.name: service.alive for service in self._services}
            figures = self._tally.figures(time.monotonic_ns())
            self._show.moment(
                Moment(
                    self._contestant,
                    elapsed,
                    self._stage.seconds,
                    self._now,
                    figures,
                    lags.bytes,
                    services,
                )
            )
