"""Run simulations:
`python -m proof.simulation [--seed S | --seeds A..B | --seconds T] [--operations N] ...`.

Exits with 1 if a violation was found; each is printed with the command that replays it.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count

from proof.simulation.profiles import NAMES, drawn
from proof.simulation.rules import rule_off
from proof.simulation.run import Outcome, silent, simulate

SPREAD = 10**9
"""New seeds are drawn below this."""
MOST = 5
"""Violations of one run that are printed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run. `profile`: a family or a shape, empty: the seed's own. `without`: rules that are
    switched off."""

    seed: int
    operations: int
    profile: str
    without: tuple[str, ...]
    tell: bool = False
    narrow: bool = False


def run(job: Job) -> Outcome:
    """In a process of its own."""
    with ExitStack() as stack:
        for rule in job.without:
            stack.enter_context(rule_off(rule))
        profile = drawn(job.seed, job.profile, narrow=job.narrow)
        return simulate(job.seed, job.operations, profile, print if job.tell else silent)


def prepare() -> None:
    """What was imported is no matter of the collector's: a run ends with a full collection."""
    os.nice(0)
    gc.freeze()


def jobs(options: argparse.Namespace) -> Iterator[Job]:
    """In their order; without seeds that were asked for, new ones for ever."""
    if options.seed is not None:
        seeds: Iterator[int] = iter([options.seed])
    elif options.seeds:
        first, _, last = options.seeds.partition("..")
        seeds = iter(range(int(first), int(last) + 1))
    else:
        seeds = count(secrets.randbelow(SPREAD))
    without = tuple(options.without)
    tell = options.tell and options.seed is not None
    return (
        Job(seed, options.operations, options.profile, without, tell, options.narrow)
        for seed in seeds
    )


def replay(outcome: Outcome, options: argparse.Namespace) -> str:
    """The command that shows it again."""
    words = [
        "python -m proof.simulation",
        f"--seed {outcome.seed}",
        f"--operations {options.operations}",
    ]
    words += [f"--profile {options.profile}"] if options.profile else []
    words += ["--narrow"] if options.narrow else []
    words += [f"--without {rule!r}" for rule in options.without]
    return " ".join(words)


@dataclass
class Tally:
    """What all runs came to."""

    options: argparse.Namespace
    runs: int = 0
    bad: int = 0
    operations: int = 0
    seconds: float = 0.0
    seeds: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        self.runs += 1
        self.operations += outcome.operations
        self.seconds += outcome.seconds
        self.seeds.add(outcome.seed)
        self.counts.update(outcome.counts)
        if outcome.violations:
            self.bad += 1
            print(
                f"seed {outcome.seed} ({outcome.profile}) violates: {replay(outcome, self.options)}"
            )
            print("   " + "\n   ".join(outcome.violations[:MOST]), flush=True)

    def tell(self, took: float) -> None:
        print(
            f"seeds {min(self.seeds)}..{max(self.seeds)}: {self.runs:,} runs, {self.operations:,} "
            f"operations in {self.seconds:,.0f} simulated seconds; {self.bad} runs with "
            f"violations; {took:.0f} s, {self.operations / took:,.0f} operations/s",
            flush=True,
        )


def main() -> int:
    options = parsed()
    began = time.perf_counter()
    until = began + options.seconds if options.seed is None and not options.seeds else math.inf
    tally = Tally(options)
    for outcome in outcomes(jobs(options), options.processes, until):
        tally.add(outcome)
        if options.seed is not None:
            print(f"profile {outcome.profile}, trace {outcome.trace:08x}")
        elif tally.runs % 500 == 0:
            tally.tell(time.perf_counter() - began)
    tally.tell(time.perf_counter() - began)
    print(", ".join(f"{name} {number:,}" for name, number in sorted(tally.counts.items())))
    return 1 if tally.bad else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proof.simulation", description=__doc__)
    parser.add_argument(
        "--seed", type=int, help="one run; the same seed and operations give the same trace"
    )
    parser.add_argument("--seeds", default="", metavar="A..B", help="one run for each, B included")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="new seeds for so long, if none are given"
    )
    parser.add_argument(
        "--operations", type=int, default=2000, help="reads, writes and faults of one run"
    )
    parser.add_argument(
        "--profile", default="", help="else the seed says; changes are added: all+feeds"
    )
    parser.add_argument(
        "--narrow", action="store_true", help="draw as before there were wider worlds"
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="RULE", help="switch a rule off"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tell", action="store_true", help="with --seed: print all that happens")
    options = parser.parse_args()
    if unknown := [
        name for name in options.profile.split("+") if options.profile and name not in NAMES
    ]:
        parser.error(f"no profile is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    return options


def outcomes(jobs: Iterator[Job], processes: int, until: float) -> Iterator[Outcome]:
    """As they come. No run is begun after `until`."""
    if processes == 1:
        prepare()
        for job in jobs:
            if time.perf_counter() >= until:
                return
            yield run(job)
        return
    with ProcessPoolExecutor(processes, initializer=prepare) as pool:
        running: set[Future[Outcome]] = set()
        more = True
        while more or running:
            while more and len(running) < processes + 2:
                found = next(jobs, None) if time.perf_counter() < until else None
                more = found is not None
                if found is not None:
                    running.add(pool.submit(run, found))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


if __name__ == "__main__":
    sys.exit(main())
