"""A page hit, a 304 by versions, and a page through Varnish, beside the same service without this
library and beside what FastAPI users take today.

    python3 dev.py benchmark pages

Ten rows and some 1,500 bytes a page; all but the first are warm. The application is called as a
server would call it, in one process. Through Varnish, where it is installed: a plain client on
kept connections, to the service's own server and to Varnish in front of it.
"""

from __future__ import annotations

from functools import partial

from benchmarks._fronts import fetched, purged
from benchmarks._harness import Bar, Effort, Load, interleave, run, under
from benchmarks._shop import fill, servers
from benchmarks._sites import (
    ON_A_PAGE,
    kept,
    rows_cached,
    with_cashews,
    with_fastapi_cache,
    without,
)

PAGES = 64
WITHOUT = "FastAPI, AsyncSession"
CASHEWS = "FastAPI, cashews @cache"
FASTAPI_CACHE = "FastAPI, fastapi-cache2"
HIT = "a kept page"
NOT_MODIFIED = "a 304 by versions"
BARS = (
    Bar(HIT, WITHOUT, "cpu", 0.33),
    Bar(HIT, CASHEWS, "cpu", 0.8),
    Bar(NOT_MODIFIED, HIT, "cpu", 1.0),
)


SERVER = "kept pages, uvicorn"
VARNISH = "Varnish in front of it"
FRONT_BARS = (Bar(VARNISH, SERVER, "calls", 2.0, at_least=True),)


async def benchmark(effort: Effort) -> None:
    with servers() as running:
        ends = await fill(running, PAGES * ON_A_PAGE)
        contestants = {
            WITHOUT: partial(without, ends),
            CASHEWS: partial(with_cashews, ends, PAGES),
            FASTAPI_CACHE: partial(with_fastapi_cache, ends, PAGES),
            "repositories alone, rendered": partial(rows_cached, ends, PAGES),
            HIT: partial(kept, ends, PAGES),
            NOT_MODIFIED: partial(kept, ends, PAGES, etags=True),
        }
        for title, load in (
            ("a page, one caller", Load(1, PAGES)),
            ("a page, 32 callers", Load(32, PAGES)),
        ):
            table = await interleave(title, contestants, under(load, effort.closed), effort.rounds)
            table.show(BARS)
        table = await interleave(
            "a page by HTTP, 32 callers",
            {
                SERVER: partial(fetched, ends, PAGES, through=False),
                VARNISH: partial(fetched, ends, PAGES, through=True),
            },
            under(Load(32, PAGES), effort.closed),
            effort.rounds,
        )
        table.show(FRONT_BARS)
        table = await interleave(
            "a commit, until its pages are purged, one caller",
            {"Varnish has answered": partial(purged, ends)},
            under(Load(1, PAGES), effort.closed),
            effort.rounds,
        )
        table.show(())


if __name__ == "__main__":
    run(benchmark)
