"""How many processes, Redis cores and replicas a load needs, and which limit comes first.

    python3 dev.py benchmark plan
    python3 dev.py benchmark plan --requests 100000 --reads 5 --l1-hits 0.9 --writes 0.01

What one operation costs is measured in a short run, or given in microseconds of CPU: `--l1 CLIENT`,
`--l2 CLIENT REDIS`, `--miss CLIENT REDIS DATABASE`, `--commit CLIENT REDIS PRIMARY REPLICA`, and
`--heard CLIENT REDIS`, what a commit costs for each process that hears of it. If all five are
given, nothing is started.

The plan adds cores up. It knows nothing of networks, memory and disks, and takes the shares of hits
as they are given, however many processes share the load. There is no Redis Cluster: more than one
Redis core means databases with a Redis each.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from benchmarks._costs import Cost, Costs, amount, measured
from benchmarks._harness import arguments, effort_of, perform
from benchmarks._workload import Workload

MOST = 1e12
"""Requests a second that nobody has."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a workload needs, in cores that are busy: of all service processes together, of each of
    them to hear what others commit, of Redis, the primary, all replicas together for reads, and of
    each for replay.

    `processes` and `replicas` are infinite if no number of them is enough.
    """

    load: Workload
    service: float
    hearing: float
    processes: float
    redis: float
    primary: float
    reading: float
    replay: float
    replicas: float

    @property
    def redis_cores(self) -> float:
        return whole(self.redis / self.load.utilisation)

    @property
    def shares(self) -> dict[str, float]:
        """How much each thing of which there is but one has to do; 1: as much as it may."""
        most = self.load.utilisation
        return {
            "Redis, which has one core for commands": self.redis / most,
            "the primary": self.primary / (most * self.load.cores),
            "replay, one core of each replica": self.replay / most,
            "the channel, which each process hears": self.hearing / most,
        }


def plan(costs: Costs, load: Workload) -> Plan:
    hearing = cores(load.commits * costs.heard.client)
    service = cores(
        load.requests * load.own
        + load.from_l1 * costs.l1.client
        + load.from_l2 * costs.l2.client
        + load.misses * costs.miss.client
        + load.commits * costs.commit.client
    )
    processes = needed(service, load.utilisation - hearing)
    told = processes * costs.heard.redis if load.commits and costs.heard.redis else 0.0
    replay, reading = (
        cores(load.commits * costs.commit.replica),
        cores(load.misses * costs.miss.database),
    )
    return Plan(
        load,
        service,
        hearing,
        processes,
        redis=cores(
            load.from_l2 * costs.l2.redis
            + load.misses * costs.miss.redis
            + load.commits * (costs.commit.redis + told)
        ),
        primary=cores(load.commits * costs.commit.database),
        reading=reading,
        replay=replay,
        replicas=needed(reading, load.utilisation * load.cores - replay),
    )


def cores(microseconds: float) -> float:
    """Busy ones, of so many microseconds of CPU a second."""
    return microseconds / 1e6


def needed(busy: float, each: float) -> float:
    """How many, if each takes so many cores of it."""
    if not busy:
        return 0.0
    return whole(busy / each) if each > 1e-12 else math.inf


def whole(number: float) -> float:
    """Rounded up, but not for what floating point adds."""
    return number if math.isinf(number) else float(math.ceil(number - 1e-9))


def limit(costs: Costs, load: Workload) -> tuple[str, float]:
    """What is full first if the load grows, and at how many requests a second; infinitely many, if
    nothing is."""
    found = {name: full_at(costs, load, name) for name in plan(costs, load).shares}
    first = min(found, key=found.__getitem__)
    return first, found[first]


def full_at(costs: Costs, load: Workload, name: str) -> float:
    """By halves, since what Redis tells grows with the number of processes too."""

    def full(requests: float) -> bool:
        return plan(costs, replace(load, requests=requests)).shares[name] > 1

    low, high = 0.0, MOST
    if not full(high):
        return math.inf
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if full(middle) else (middle, high)
    return low


def rows(costs: Costs, made: Plan) -> Iterator[tuple[str, str, str]]:
    """What, its arithmetic in words, its result."""
    load = made.load
    most = f"{load.utilisation:.0%}"
    reads = load.requests * load.reads
    yield "reads", f"{load.requests:,.0f} requests x {load.reads:g}", a_second(reads)
    yield "of them from L1", f"{load.l1_hits:.1%} of the reads", a_second(load.from_l1)
    yield "from L2", f"{load.l2_hits:.1%} of the rest", a_second(load.from_l2)
    yield "misses", "what is left", a_second(load.misses)
    yield "commits", f"{load.requests:,.0f} requests x {load.writes:g}", a_second(load.commits)
    work = [
        (load.from_l1, "L1 hits", costs.l1.client),
        (load.from_l2, "L2 hits", costs.l2.client),
        (load.misses, "misses", costs.miss.client),
        (load.commits, "commits", costs.commit.client),
        (load.requests, "requests of its own", load.own),
    ]
    yield "CPU of the service", total(work), busy(made.service)
    hears = total([(load.commits, "commits", costs.heard.client)])
    yield "CPU of each process to hear them", hears, busy(made.hearing)
    per_process = f"{busy(made.service)} / ({most} of a core - {busy(made.hearing)})"
    yield "**service processes, a core each**", per_process, count(made.processes)
    work = [
        (load.from_l2, "L2 hits", costs.l2.redis),
        (load.misses, "misses", costs.miss.redis),
        (load.commits, "commits", costs.commit.redis),
        (load.commits * made.processes if load.commits else 0, "messages", costs.heard.redis),
    ]
    yield "CPU of Redis", total(work), busy(made.redis)
    yield "**Redis cores**", f"{busy(made.redis)} / {most}", count(made.redis_cores)
    yield (
        "CPU of the primary",
        total([(load.commits, "commits", costs.commit.database)]),
        f"{busy(made.primary)} of {load.cores:g}",
    )
    yield (
        "CPU of the replicas for reads",
        total([(load.misses, "misses", costs.miss.database)]),
        busy(made.reading),
    )
    yield (
        "CPU of each replica for replay",
        total([(load.commits, "commits", costs.commit.replica)]),
        busy(made.replay),
    )
    of_replica = f"{busy(made.reading)} / ({most} of {load.cores:g} cores - {busy(made.replay)})"
    yield "**replicas**", of_replica, count(made.replicas)
    name, at = limit(costs, load)
    if math.isinf(at):
        name, full = "none of those known", "never full"
    else:
        full = f"full at **{at:,.0f}** requests a second"
    yield "**the first limit**", name, full


def a_second(number: float) -> str:
    return f"{number:,.0f} a second"


def busy(number: float) -> str:
    return f"{amount(number)} cores"


def count(number: float) -> str:
    return "no number is enough" if math.isinf(number) else f"**{number:,.0f}**"


def total(work: list[tuple[float, str, float]]) -> str:
    """Of so many a second at so many microseconds each."""
    parts = [
        f"{times:,.0f} {what} x {amount(each)} us" for times, what, each in work if times and each
    ]
    return " + ".join(parts) or "nothing"


def markdown(costs: Costs, load: Workload) -> str:
    lines = ["| what | how | result |", "| --- | --- | --: |"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows(costs, plan(costs, load))]
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    made = arguments()
    for each in fields(Workload):
        name = f"--{each.name.replace('_', '-')}"
        made.add_argument(name, type=float, default=each.default, help="default %(default)s")
    for name, parts in COSTS.items():
        made.add_argument(f"--{name}", type=float, nargs=len(parts), metavar=parts)
    return made


COSTS = {
    "l1": ("CLIENT",),
    "l2": ("CLIENT", "REDIS"),
    "miss": ("CLIENT", "REDIS", "DATABASE"),
    "commit": ("CLIENT", "REDIS", "PRIMARY", "REPLICA"),
    "heard": ("CLIENT", "REDIS"),
}
"""What a cost on the command line consists of."""


def main() -> None:
    made = parser()
    options = made.parse_args()
    try:
        load = Workload(**{each.name: getattr(options, each.name) for each in fields(Workload)})
    except ValueError as error:
        made.error(str(error))
    given = {name: Cost(*getattr(options, name)) for name in COSTS if getattr(options, name)}
    if given.keys() == COSTS.keys():
        costs = Costs(**given)
    else:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        costs = replace(perform(measured(effort_of(options)), options), **given)
    print(f"\n{costs}\n\n{markdown(costs, load)}")


if __name__ == "__main__":
    main()
