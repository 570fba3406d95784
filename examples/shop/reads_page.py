"""The page that shows the trail."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from examples.shop.layout import BareFrame
from examples.shop.markup import escaped, table
from examples.shop.reads import PATH, READ_NOW, Read, Seen, Trail

router = APIRouter()
TIERS = {"l1": "L1, in the process", "l2": "L2, Redis", "database": "database"}


def age(read: Read, sampled: float | None) -> str:
    """`sampled`: of a hit in L1, if one of its owner's was."""
    seconds = read.age
    if read.tier == "l1" and sampled is not None:
        return f"{sampled:.1f} s"
    if seconds is None:
        return '<span class="soft">–</span>'  # noqa: RUF001  # a dash
    if seconds == READ_NOW:
        return "read now"
    return f"{'≥ ' if read.tier == 'l1' else ''}{seconds:.1f} s"


def row(read: Read, sampled: float | None) -> list[str]:
    tier = escaped(TIERS.get(read.tier, read.tier))
    return [
        f'<span class="tier {escaped(read.tier)}">{tier}</span>',
        escaped(read.node),
        escaped(read.owner),
        str(read.count),
        age(read, sampled),
        escaped(read.why),
    ]


def request(seen: Seen, now: float) -> str:
    """One request."""
    head = (
        f'<h3><span class="method">{escaped(seen.method)}</span> {escaped(seen.where)} '
        f'<span class="soft">{seen.status}, {max(0.0, now - seen.at):.0f} s ago</span></h3>'
    )
    said = [
        ("Cache-Status", seen.cache_status),
        ("Cache-Control", seen.cache_control),
        ("Answer", seen.kept),
    ]
    lines = "".join(
        f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>" for name, value in said if value
    )
    heads = ["Tier", "Node", "Owner", "#Keys", "#Age", "Why"]
    reads = (
        table(heads, [row(each, seen.ages.get(each.owner)) for each in seen.reads])
        if seen.reads
        else '<p class="soft">Nothing was read beyond what was at hand.</p>'
    )
    return f'<article class="request">{head}<dl>{lines}</dl>{reads}</article>'


def changes(trail: Trail, now: float) -> str:
    rows = [
        [
            f'<span class="tier">{max(0.0, now - each.at):.1f} s ago</span>',
            escaped(each.what),
            escaped(each.detail),
            escaped(each.by),
        ]
        for each in trail.changes
    ]
    if not rows:
        return '<p class="soft">Nothing was written yet.</p>'
    return table(["When", "Event", "What", "Written by"], rows)


@router.get(PATH)
async def reads(request_: Request, frame: BareFrame) -> HTMLResponse:
    """Of this process, all tenants together: for who runs the shop, and for no customer."""
    trail: Trail = request_.app.state.trail
    now = time.time()
    return frame.page(
        "Reads",
        "<h1>What was read, and where</h1>",
        '<p class="soft">The last requests that reached this process, the newest first. What '
        "Varnish answers itself never comes here. An age is the time since the database was "
        "read, as far as this process knows.</p>",
        '<section class="reads">',
        "\n".join(request(each, now) for each in trail.requests)
        or '<p class="soft">No request yet.</p>',
        "</section><section><h2>What writes told, and what was purged</h2>",
        changes(trail, now),
        "</section>",
    )
