"""The marks: what becomes of answers when they are lost, do not answer, or have been forgotten."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import httpx

from tests.edges.worker.running_worker import Change, Origin, purged, running, status

KEPT = {"cache_control": "max-age=600, stale-if-error=600", "cache_tag": "a"}


async def test_what_was_stored_under_lost_marks_does_not_count(
    packages: Path, origin: Origin, tmp_path: Path
) -> None:
    """The caches live on, and the counts begin anew, under another name."""
    origin.give("/a", "old", **KEPT)
    places = {"cachePersist": str(tmp_path / "cache")}
    bindings = {"ORIGIN": origin.address}
    for marks, how in (
        ("first", "fwd=uri-miss; stored"),
        ("first", "hit"),
        ("second", "fwd=stale; stored"),
    ):
        more = {**places, "durableObjectsPersist": str(tmp_path / marks)}
        async with running(packages, bindings, more=more) as edge:
            assert status(await edge.get("/a", headers={"host": "shop"})) == how


async def test_without_an_answer_of_theirs_nothing_counts(packages: Path, origin: Origin) -> None:
    """Nor is it stored, nor is it a spare."""
    origin.give("/a", "text", **KEPT)
    fails: Change = ("marks.js", "read(tags) {", 'read(tags) {\n    throw new Error("away");')
    async with running(packages, {"ORIGIN": origin.address}, [fails]) as edge:
        for _ in range(2):
            answer = await edge.get("/a")
            assert (answer.text, status(answer)) == ("text", "fwd=uri-miss")
        origin.give("/a", "failed", 503)
        assert (await edge.get("/a")).status_code == 503


async def test_a_purge_that_comes_while_the_origin_fails_counts(
    edge: httpx.AsyncClient, origin: Origin
) -> None:
    """1. A load of a stale answer begins. 2. Its tags are purged. 3. The origin fails: what was
    purged is no spare."""
    origin.give("/a", "old", cache_control="max-age=9, stale-if-error=600", cache_tag="a", age="9")
    await edge.get("/a")
    asked, told = origin.hold("/a", "failed", 503)
    loading = asyncio.create_task(edge.get("/a"))
    await asked.wait()
    await purged(edge, "a")
    told.set()
    assert (await loading).text == "failed"


async def test_they_are_forgotten_in_the_end(
    packages: Path, origin: Origin, tmp_path: Path
) -> None:
    """When nothing that is stored can be as old. Ids are kept for as long as they are timely."""
    bindings = {"ORIGIN": origin.address, "LONGEST": "0"}
    hurried: Change = ("marks.js", "HOUR = 3_600_000", "HOUR = 50")
    more = {"durableObjectsPersist": str(tmp_path)}
    async with running(packages, bindings, [hurried], more=more) as edge:
        await purged(edge, "a", "b")
        async with asyncio.timeout(20):
            while counted(tmp_path) != (0, 1, 1):  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.05)
    async with running(packages, {**bindings, "LONGEST": "600"}, [hurried], more=more) as edge:
        await purged(edge, "a", "b")
        await asyncio.sleep(0.3)  # some alarms
        assert counted(tmp_path) == (2, 2, 2)


def counted(folder: Path) -> tuple[int, ...]:
    """Marks, ids, and purges."""
    (path,) = (path for path in folder.rglob("*.sqlite") if path.name != "metadata.sqlite")
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        questions = ("count(*) FROM marks", "count(*) FROM ids", "count FROM line")
        return tuple(connection.execute(f"SELECT {each}").fetchone()[0] for each in questions)
    finally:
        connection.close()
