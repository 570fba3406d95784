"""What a value leads to, and when that counts."""

from __future__ import annotations

from proof.protocol.guard import guards
from proof.protocol.items import KEY, Items, Labels
from proof.protocol.process import Gate, Process, until
from proof.protocol.world import World

REPOSITORIES = (Items, Labels)


async def two(world: World) -> tuple[Process, Process]:
    """Processes that know labels; the second one has at hand what nobody is called and what one
    is."""
    c = await world.process("c", repositories=REPOSITORIES)
    d = await world.process("d", repositories=REPOSITORIES)
    by_name = d.db[Labels].by_name
    await d.db[Labels].get(KEY)
    await by_name.get_many(["old", "new"])
    await until(
        lambda: (
            by_name._peek_id("old") is not None
            and by_name._peek_id("new") is not None
            and d.db[Labels]._peek(KEY) is not None
        ),
        "all are at hand",
    )
    return c, d


async def rename(process: Process, name: str) -> str:
    """The bookmark of who did it."""
    async with process.db.causal_session(None) as session:
        async with process.db.unit_of_work() as work:
            (await work[Labels].require(KEY)).name = name
            await work.commit()
        return session.encode()


@guards("new value")
async def test_a_value_that_nobody_had_is_found_by_who_gave_it(world: World) -> list[str]:
    """1. A process has cached that nobody is called "new"; 2. somebody is, from now on; 3. who did
    it asks that process."""
    c, d = await two(world)
    async with d.db.causal_session(await rename(c, "new")):
        found = await d.db[Labels].by_name.get("new")
    return [] if found is not None else ["a session does not find what it wrote"]


@guards("still has")
async def test_an_entity_counts_only_if_it_has_the_value(world: World) -> list[str]:
    """1. A reader of "old" has the id that it leads to; 2. the row is called "new" from now on;
    3. the reader takes the entity by its id."""
    c, d = await two(world)
    lookup = d.db[Labels].by_name
    d.shared.local.discard(("label", KEY))
    gate, rows = Gate("the entity"), lookup._matches._rows  # type: ignore[attr-defined]
    cached_rows = rows.cached_rows

    async def held(ids: list[int]) -> object:
        await gate.hold()
        return await cached_rows(ids)

    rows.cached_rows = held
    reader = world.start(lookup.get("old"))
    await gate.reached()
    bookmark = await rename(c, "new")
    await until(lambda: lookup._peek_id("old") is None, "it has heard")
    gate.open()
    found = await reader
    async with d.db.causal_session(bookmark):
        later = await lookup.get("old")
    names = [each.name for each in (found, later) if each is not None]
    return [f"asked for old, and was given {name}" for name in names if name != "old"]
