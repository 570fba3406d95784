"""What simulations have found, each as small as it can be made."""

from __future__ import annotations

from typing import Any

from tests.simulation.loop import environment, new_loop
from tests.simulation.profiles import Profile, keys_in
from tests.simulation.run import silent
from tests.simulation.world import World

KEY = keys_in(1, 1)[0]


def test_a_primary_that_does_not_answer_refuses_no_bookmark() -> None:
    """1. A session commits in one process; 2. the primary goes down; 3. the session comes to a process whose last
    poll of the primary was before its commit. Its bookmark is ahead of all that this process knows, and still right.
    """
    loop = new_loop(1)
    profile = Profile("still", (KEY,), sample_every=2.0, max_lag=10.0)

    async def course(world: World) -> tuple[Any, Any]:
        await world.start_service()
        await world.start_service()
        writer, reader = world.running()

        async def write() -> str:
            async with writer.routing.causal_session() as session:
                connection = await writer.connection()
                written = {KEY: await connection.update(KEY, exists=True)}
                writer.touch(connection, [KEY], "")
                await writer.commit(connection, written)
                await connection.close()
                return session.encode()

        text = await world.run_in(writer, write())
        world.cluster.crash(postmaster=True)
        return text, await world.run_in(reader, reader.routing.accepted(text))

    with environment(loop, 1):
        world = World(loop, 1, profile, silent)
        text, accepted = loop.run_until_complete(course(world))
    assert accepted is not None
    assert accepted.encode() == text
    del world
    loop.close()
