"""Commits that invalidate, beside the same transaction without the library.

    python3 dev.py benchmark commits

One row a transaction, other rows for each caller, on a PostgreSQL with fsync: as a Core UPDATE, and
as an entity that is read, changed and flushed. Ours also leaves a row in the outbox and takes it
away again, learns the commit's position, runs the invalidation's script in Redis and clears this
process.
"""

from __future__ import annotations

from functools import partial

from benchmarks._harness import Bar, Effort, Load, Open, interleave, run, under
from benchmarks._shop import fill, servers
from benchmarks._writers import (
    CORE,
    ROWS,
    WANTED,
    WITH,
    WITHOUT,
    forms,
    make_outbox,
    our_session,
    our_update,
)
from repocache import OutboxMode
from repocache.testing import Endpoints

SIGNED = "the same, signed messages"
SECRETS = ("a secret of the benchmark's",)
CALLERS = (1, 16, 64)


def contestants(ends: Endpoints) -> dict[str, dict[str, Open]]:
    """Of each form, the plain one first; ours also with signed messages, and without a unit of
    work."""
    on, found = OutboxMode.REQUIRED, forms(ends)
    signed, session = partial(our_update, ends, on, SECRETS), partial(our_session, ends, on)
    found[CORE] |= {SIGNED: signed, "repocache: plain session": session}
    ours = {WITH, WITHOUT, SIGNED, "repocache: plain session"}
    return {
        form: {name: each for name, each in entrants.items() if name in ours | {form}}
        for form, entrants in found.items()
    }


def bars(form: str, callers: int, ours: list[str]) -> list[Bar]:
    wanted = [Bar(WITH, WITHOUT, "calls", 0.85, at_least=True)]
    if callers > 1:
        wanted += [Bar(each, form, "calls", WANTED[form], at_least=True) for each in ours]
    if SIGNED in ours:
        wanted.append(Bar(SIGNED, WITH, "cpu", 1.05))
    return wanted


async def benchmark(effort: Effort) -> None:
    with servers(durable=True) as running:
        ends = await fill(running, ROWS)
        await make_outbox(ends)
        for callers in CALLERS:
            for form, entrants in contestants(ends).items():
                table = await interleave(
                    f"commit, {callers} callers in a closed loop, {form}",
                    entrants,
                    under(Load(callers, ROWS), 1.5 * effort.closed),
                    effort.rounds,
                )
                table.show(bars(form, callers, [each for each in entrants if each != form]))


if __name__ == "__main__":
    run(benchmark)
