"""How the cost of the main paths grows: with keys, sizes of values, callers, processes, owners,
replicas, and invalidations that come from elsewhere.

    python3 dev.py benchmark growth
    python -m benchmarks.growth --only keys storm

Every curve stands beside a peer that is measured in the same rounds; medians. Printed are all
points, the knee of each curve, and the lines for docs/performance.md; the pictures go to
docs/growth. On one machine all that is added shares its cores with the servers, so calls a second
end where the cores do; CPU a call goes on telling.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from benchmarks._growth import page, pictures
from benchmarks._growth.callers import CALLERS
from benchmarks._growth.contest import Axis, Extent, Study
from benchmarks._growth.ground import ground
from benchmarks._growth.keys import KEYS
from benchmarks._growth.owners import OWNERS
from benchmarks._growth.processes import PROCESSES
from benchmarks._growth.replicas import REPLICAS
from benchmarks._growth.sizes import SIZES
from benchmarks._growth.storm import STORM
from benchmarks._shop import servers
from repocache.testing import Servers

AXES = (KEYS, SIZES, CALLERS, PROCESSES, OWNERS, STORM, REPLICAS)
FOLDER = Path(__file__).parents[1] / "docs" / "growth"
QUICK = Extent(rounds=1, closed=0.02, thinking=0.1, warm=512, cold=1_000)


@dataclass(frozen=True, slots=True)
class Plan:
    """`folder`: for the pictures, None: none are drawn."""

    axes: Sequence[Axis]
    extent: Extent
    quick: bool
    folder: Path | None

    def points(self, axis: Axis) -> tuple[int, ...]:
        return axis.quick if self.quick else axis.points

    def replicas(self, axis: Axis) -> int:
        return min(axis.replicas, 1) if self.quick else axis.replicas


def planned(arguments: Sequence[str] | None = None) -> Plan:
    """What the command line asks for."""
    names = [each.name for each in AXES]
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--quick", action="store_true", help="few small points once: says nothing about speed"
    )
    parser.add_argument("--rounds", type=int, default=Extent().rounds)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="AXIS")
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    options = parser.parse_args(arguments)
    extent = QUICK if options.quick else Extent(rounds=max(1, options.rounds))
    folder = options.out or (None if options.quick else FOLDER)
    axes = [each for each in AXES if each.name in options.only]
    return Plan(axes, extent, options.quick, folder)


async def study(plan: Plan, axis: Axis, running: Servers) -> Study:
    began = time.monotonic()
    with ground(running) as here:
        found = await axis.study(here, plan.points(axis), plan.extent)
    print(*page.table(axis, found), f"  {time.monotonic() - began:.0f} s", sep="\n", flush=True)
    return found


@contextmanager
def grounds(plan: Plan) -> Iterator[Iterator[tuple[Axis, Servers]]]:
    """Each axis with servers that have its replicas, which are started as they are needed."""

    def each() -> Generator[tuple[Axis, Servers], None, None]:
        for replicas, axes in groupby(plan.axes, plan.replicas):
            with servers(durable=True, replicas=replicas) as running:
                for axis in axes:
                    yield axis, running

    going = each()
    try:
        yield going
    finally:
        going.close()


def show(plan: Plan, axis: Axis, found: Study) -> None:
    """Draw the picture, if there is a place for it and something to draw with."""
    if plan.folder is None:
        return
    try:
        path = pictures.draw(axis, found, plan.folder)
    except ImportError:
        print(f"  {pictures.MISSING}", flush=True)
    else:
        print(f"  {path.name}: {path.stat().st_size:,} bytes", flush=True)


async def benchmark(plan: Plan) -> None:
    lines: list[str] = []
    with grounds(plan) as each:
        for axis, running in each:
            found = await study(plan, axis, running)
            show(plan, axis, found)
            lines += [page.line(axis, curve) for curve in found.curves]
    print("\nfor docs/performance.md:\n", *page.HEAD, *lines, "", page.legend(), sep="\n")


def main() -> None:
    plan = planned()
    print(f"{plan.extent}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    asyncio.run(benchmark(plan))


if __name__ == "__main__":
    main()
