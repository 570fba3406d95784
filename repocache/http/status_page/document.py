"""The page as HTML, made of a status by plain functions."""

from __future__ import annotations

from repocache.http.status_page import sections
from repocache.http.status_page.markup import Markup, escaped, joined, moment, section
from repocache.http.status_page.status import Status
from repocache.http.status_page.style import STYLE

SECTIONS = {
    "map": "Map",
    "tiers": "Tiers",
    "owners": "Owners",
    "nodes": "Nodes",
    "channel": "Channel and Redis",
    "hot": "Hot keys",
    "invalidations": "Recent invalidations",
    "waiting": "Outbox and backlog",
    "edges": "Edges",
    "verification": "Verification",
}


def document(status: Status, layers: Markup, *, title: str, refresh: int) -> str:
    """`layers`: the map. `title`: of the application. `refresh`: seconds after which it loads
    itself again, 0: it does not."""
    parts = joined(
        section(anchor, SECTIONS[anchor], *inside)
        for anchor, inside in (
            ("map", [layers]),
            ("tiers", [sections.tiers(status)]),
            ("owners", [sections.owners(status.owners)]),
            ("nodes", sections.nodes(status)),
            ("channel", sections.channel(status)),
            ("hot", [sections.hot(status)]),
            ("invalidations", [sections.invalidations(status.invalidations)]),
            ("waiting", sections.waiting(status)),
            ("edges", sections.edges(status)),
            ("verification", [sections.verification(status)]),
        )
    )
    named = escaped(title)
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    links = "".join(
        f'<li><a href="#{anchor}">{escaped(each)}</a></li>' for anchor, each in SECTIONS.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">{again}
<title>{named}: caches and nodes</title>
<style>{STYLE}</style>
</head>
<body>
<a class="skip" href="#main">Skip to the figures</a>
<header>
<h1>{named}: caches and nodes</h1>
<p class="soft">One process, at {escaped(moment(status.at))}. Totals are since it began.
{refresher(refresh)}</p>
<nav aria-label="Sections"><ul class="sections">{links}</ul></nav>
</header>
<main id="main" tabindex="-1">
{parts}
</main>
<footer><p>Read-only. The same as JSON: <a href="?format=json">?format=json</a></p></footer>
</body>
</html>
"""


def refresher(refresh: int) -> Markup:
    """Nobody's page moves while he reads, but he says so."""
    if refresh:
        return Markup(f'Loads itself every {refresh} seconds: <a href="?">stop</a>.')
    return Markup('It stands still: <a href="?refresh=10">load it every 10 seconds</a>.')
