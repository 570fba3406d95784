"""`python3 dev.py behind --increments 1000000`: increments from four processes under kills of
flushers and of the database; the exit status says whether the sums are exact. `--losses`: what a
Redis that is killed loses under each of its settings."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys

from proof.behind.losses import SETTINGS, losses
from proof.behind.storm import Plan, Storm
from repocache.testing import Layout, embedded_servers


def main() -> int:
    """One storm, or the losses."""
    parser = argparse.ArgumentParser(prog="dev.py behind", description=__doc__)
    parser.add_argument("--increments", type=int, default=1_000_000)
    parser.add_argument("--every", type=float, default=0.7, help="seconds between faults")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--losses", action="store_true")
    given = parser.parse_args()
    if given.losses:
        print("| setting | increments a second | accepted | lost by a kill |")
        print("| --- | --: | --: | --: |")
        for each in SETTINGS:
            print(*losses([each]), flush=True)
        return 0
    plan = Plan(given.increments, every=given.every, seed=given.seed)
    print(f"seed {plan.seed}", flush=True)
    with embedded_servers(Layout(replicas=0)) as servers:
        servers.primary.create_database("storm")
        outcome = asyncio.run(Storm(servers, plan, "storm").run())
    print("\n".join(outcome.lines))
    return 1 if outcome.wrong or outcome.dead else 0


if __name__ == "__main__":
    sys.exit(main())
