"""`python -m proof.faults --minutes 60 --seed S --out histories/`: rounds of real faults, each
judged when it is over.

Exit status 1 on a violation: the round's history stays then, and the command that repeats it is
printed.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import time
import traceback
from pathlib import Path

import msgspec

from proof.faults.check import check
from proof.faults.edn import as_edn
from proof.faults.figures import Figures, told
from proof.faults.ground import Ground, ground
from proof.faults.promise import bounds_of
from proof.faults.records import Entry, read_history
from proof.faults.round import Plan, Round
from proof.faults.verdict import Verdict
from repocache.redis_link.connection import Limits

SECONDS = 60.0
"""Of traffic in one round."""
TURNS = (
    (False, "aside"),
    (True, "aside"),
    (False, "through"),
    (True, "through"),
    (False, "strict"),
)
"""Rounds differ in whether the table has its trigger, and in the policy; every other one signs its
bookmarks."""


def main(words: list[str]) -> int:
    """Run, judge and tell."""
    asked = _arguments().parse_args(words)
    if asked.edn:
        sys.stdout.write(as_edn(read_history(asked.edn)))
        return 0
    seed = asked.seed or secrets.token_hex(4)
    figures, began, number, status = Figures(), time.monotonic(), asked.round, 0
    with ground() as servers:
        while number == asked.round or time.monotonic() - began < 60.0 * asked.minutes:
            seconds = min(SECONDS, 60.0 * asked.minutes)
            folder = asked.out / f"{seed}-{number}"
            turn = (*TURNS[number % len(TURNS)], number % 2 == 0, number % 3 == 0)
            plan = Plan(f"{seed}/{number}", seconds, folder, asked.off, asked.every, *turn)
            again, number = _again(seed, number, asked), number + 1
            try:
                history, verdict = play(servers, plan)
            except Exception:  # noqa: BLE001  # the other rounds are not lost for it
                status, figures.broken = 1, figures.broken + 1
                traceback.print_exc()
                print(f"{folder.name} broke; again: {again}", flush=True)
                servers.mend()
                continue
            figures.add(history, verdict, seconds)
            found = f"{len(history):,} records, {len(verdict.violations)} violations"
            print(f"{folder.name} ({plan.policy}): {found}", flush=True)
            (asked.out / f"{seed}.json").write_bytes(
                msgspec.json.format(msgspec.json.encode(figures.as_dict()))
            )
            if verdict.violations:
                status = 1
                print(*told(verdict.violations), sep="\n")
                print(f"  the history is in {plan.folder}; again: {again}", flush=True)
            elif not asked.keep:
                shutil.rmtree(plan.folder)
    print(f"seed {seed}", *figures.lines(), sep="\n", flush=True)
    return status


def play(servers: Ground, plan: Plan) -> tuple[list[Entry], Verdict]:
    """One round and its verdict."""
    asyncio.run(Round(servers, plan).run())
    history = read_history(plan.folder)
    monotonic = [name for name, service in plan.workers.items() if service.monotonic]
    return history, check(history, bounds_of(Limits(), strict=plan.policy == "strict"), monotonic)


def _again(seed: str, number: int, asked: argparse.Namespace) -> str:
    more = f" --off '{asked.off}'" if asked.off else ""
    return (
        f"python3 dev.py faults --minutes 1 --seed {seed} --round {number} --every "
        f"{asked.every}{more}"
    )


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 dev.py faults", description="Real faults, and whether all promises hold."
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long new rounds are begun")
    parser.add_argument("--seed", default="", help="what goes wrong and when; default: a new one")
    parser.add_argument(
        "--round",
        type=int,
        default=1,
        help="the first round's number: a seed and a number make a round",
    )
    parser.add_argument(
        "--every", type=float, default=0.8, help="seconds between two faults, on average"
    )
    parser.add_argument("--out", type=Path, default=Path("histories"), help="folder for histories")
    parser.add_argument(
        "--keep", action="store_true", help="keep the histories of rounds without violations too"
    )
    parser.add_argument(
        "--off",
        default="",
        help="a rule that the workers live without (proof/protocol/switches.py)",
    )
    parser.add_argument(
        "--edn",
        type=Path,
        help="print the history in this folder for elle-cli, and do nothing else",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
