"""What stands in each section of the page, made of a status by plain functions."""

from __future__ import annotations

from collections.abc import Sequence

from repocache.http.status_page.markup import (
    NOTHING,
    UNKNOWN,
    Markup,
    cell,
    count,
    counted_state,
    joined,
    moment,
    number,
    paragraph,
    percent,
    seconds,
    share,
    size,
    state,
    table,
)
from repocache.http.status_page.status import (
    ChannelState,
    HotRow,
    InvalidationRow,
    NodeRow,
    OutboxState,
    OwnerRow,
    Status,
)

TIERS = {
    "l1": "L1, in this process",
    "l2": "L2, Redis",
    "joined": "Joined another caller's load",
    "database": "Database",
    "aside": "Aside, while the database is away",
}


def tiers(status: Status) -> Markup:
    """Who answered, the nearest first."""
    reads = {tier: sum(each.reads.get(tier, 0) for each in status.owners) for tier in TIERS}
    total = sum(reads.values())
    return table(
        "Who answered reads by id, the nearest first",
        ("Tier", "#Reads", "#Share"),
        [
            (name, [number(count(reads[tier])), share(reads[tier] / total if total else None)])
            for tier, name in TIERS.items()
        ],
    )


def owners(rows: Sequence[OwnerRow]) -> Markup:
    """A row for each."""
    columns = (
        "Owner", "Pattern", "Mode", "#Reads", "#Hit rate", "#Since the last look", "#In L1",
        "#Memory", "#Evicted", "#Redis, bytes", "#Different keys, about",
    )  # fmt: skip
    return table("Owners of keys", columns, [(each.owner, owner(each)) for each in rows])


def owner(row: OwnerRow) -> list[Markup]:
    """The cells of its row."""
    return [
        cell(row.pattern),
        cell(mode_of(row), "bad words" if row.mode not in ("", "on") else ""),
        number(count(row.total)),
        share(row.hit_rate),
        number(UNKNOWN if row.lately is None else percent(row.lately)),
        number(count(row.entries)),
        number(size(row.memory)),
        number(count(row.evicted)),
        number(size(row.moved)),
        number(count(row.distinct)),
    ]


def mode_of(row: OwnerRow) -> str:
    """With who switched it for all processes."""
    if row.switch is None:
        return row.mode or UNKNOWN
    return f"{row.mode}, by {row.switch.by} until {moment(row.switch.until)}"


def nodes(status: Status) -> list[Markup]:
    """With what the primary stands in for."""
    places, most = status.places, status.max_lag
    limit = "" if most is None else f" A replica may be {seconds(most)} behind."
    return [
        paragraph(
            f"The primary stands in for {places.taken} of {places.places} reads at once, "
            f"{places.waiting} wait.{limit}"
        ),
        table(
            "Database servers",
            ("Node", "In the rotation", "#Lag", "#WAL to replay", "#Reads under way", "#Routed"),
            [(each.name, node(each)) for each in status.nodes],
        ),
    ]


def node(row: NodeRow) -> list[Markup]:
    """The cells of its row."""
    return [
        state("yes", good=True) if not row.out else state(f"no: {row.out}", good=False),
        number(seconds(row.lag)),
        number(size(row.behind)),
        number(count(row.reads)),
        number(count(row.routed)),
    ]


def channel(status: Status) -> list[Markup]:
    """How invalidations come, and the Redis that they come by."""
    if status.channel is None:
        return [paragraph("This database has no Redis: the process caches for itself alone.")]
    rows = [(name, [each]) for name, each in channel_lines(status.channel)]
    if status.redis is not None:
        limit = size(status.redis.limit) if status.redis.limit else "no limit"
        rows += [
            ("Redis's memory", [cell(f"{size(status.redis.memory)} of {limit}")]),
            ("Keys in Redis", [cell(count(status.redis.keys))]),
            ("Keys that Redis dropped for room", [cell(count(status.redis.evicted))]),
        ]
    return [table("How invalidations come", ("What", "Now"), rows)]


def channel_lines(found: ChannelState) -> list[tuple[str, Markup]]:
    """What each says, and how it stands."""
    said = {None: cell("not known yet"), True: state("up", good=True)}
    return [
        ("Channel", said.get(found.up, state("down", good=False))),
        ("Breaker", state("open", good=False) if found.resting else cell("closed")),
        ("Times lost", cell(count(found.losses))),
        ("Gaps", cell(count(found.gaps))),
        ("Publication, mean", cell(seconds(found.publication))),
        ("Round trip, mean", cell(seconds(found.round_trip))),
        (
            "Publications that failed",
            state(count(found.failures), good=False) if found.failures else cell("0"),
        ),
    ]


def hot(status: Status) -> Markup:
    """Three orders, beside each other where there is room."""
    inside = joined(
        table(caption, ("Key", unit), [(row.key, [number(shown(row))]) for row in rows])
        for caption, unit, rows, shown in (
            ("Read most lately", "#Reads, about", status.hot.reads, _counted),
            ("Missed most lately", "#Loads, about", status.hot.misses, _counted),
            ("Most bytes lately", "#Bytes, about", status.hot.bytes, _sized),
        )
    )
    return Markup(f'<div class="beside">{inside}</div>')


def _counted(row: HotRow) -> str:
    return count(row.count)


def _sized(row: HotRow) -> str:
    return size(row.count)


def invalidations(rows: Sequence[InvalidationRow]) -> Markup:
    """The latest first."""
    return table(
        "Invalidations that this process heard of, the latest first",
        ("When", "Owners", "#Keys", "Written by", "Which"),
        [(moment(each.at), invalidation(each)) for each in rows],
    )


def invalidation(row: InvalidationRow) -> list[Markup]:
    """The cells of its row."""
    return [
        cell(", ".join(row.owners), "words"),
        number(count(row.count)),
        cell("this process" if row.mine else "another"),
        cell(" ".join(row.keys) if row.keys else "not shown", "words"),
    ]


def held(name: str, rows: OutboxState | None) -> Markup:
    """Rows of the outbox, or of purges."""
    if rows is None:
        return paragraph(f"{name}: there is none, or it was not measured yet.")
    aside = state(count(rows.aside), good=False) if rows.aside else cell("0")
    return table(
        name,
        ("What", "Now"),
        [
            ("Rows that wait", [cell(count(rows.waiting))]),
            ("The oldest of them", [cell(seconds(rows.seconds))]),
            ("Rows put aside", [aside]),
        ],
    )


def edges(status: Status) -> list[Markup]:
    """Caches in front of the service, and what outlives this process of their purges."""
    if not status.edges:
        return [paragraph("Edges: there are none, or they were not measured yet.")]
    columns = (
        "Edge", "#Tags that wait", "#Tags purged", "Last", "#Mean lag", "#Purges failed",
    )  # fmt: skip
    rows = [
        (
            each.edge,
            [
                number(count(each.waiting)),
                number(count(each.purged)),
                cell(UNKNOWN if each.at is None else moment(each.at)),
                number(seconds(each.seconds)),
                counted_state(each.failures),
            ],
        )
        for each in status.edges
    ]
    return [
        table("Caches in front of the service", columns, rows),
        held("Purges", status.purges),
    ]


def waiting(status: Status) -> list[Markup]:
    """What is not where it belongs yet."""
    said = held("Outbox", status.outbox)
    behind = table(
        "Changes that wait to be written",
        ("Owner", "#Changes", "#The oldest", "#Flushes failed", "#Dead letters"),
        [
            (
                each.owner,
                [
                    number(count(each.waiting)),
                    number(seconds(each.seconds)),
                    counted_state(each.failures),
                    counted_state(each.dead),
                ],
            )
            for each in status.backlog
        ],
    )
    return [said, behind if status.backlog else NOTHING]


def verification(status: Status) -> Markup:
    """What comparing caches with the primary has shown."""
    found = status.verdicts
    if not sum(found.values()):
        return paragraph("Nothing was compared with the primary yet.")
    return table(
        "Cached values compared with the primary",
        ("Verdict", "#Values"),
        [
            ("right", [number(count(found.get("right", 0)))]),
            ("late", [number(count(found.get("late", 0)))]),
            ("wrong", [counted_state(found.get("wrong", 0))]),
        ],
    )
