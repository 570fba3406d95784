"""A short storm: the sums are exact, and without the position they would not be."""

from __future__ import annotations

from proof.behind.storm import Plan, Storm
from repocache.testing import Layout, embedded_servers


async def test_all_increments_count_once_whatever_is_killed() -> None:
    with embedded_servers(Layout(replicas=0)) as servers:
        servers.primary.create_database("storm")
        outcome = await Storm(servers, Plan(20_000, every=0.4, seed=7), "storm").run()
    assert not outcome.wrong, "\n".join(outcome.lines)
    assert outcome.dead == 0
    assert outcome.increments == 20_000
    assert outcome.faults.total() > 0
    assert outcome.reads > 0
