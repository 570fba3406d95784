"""HTML of small parts, from texts that are escaped here and nowhere else."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence
from typing import NewType

Markup = NewType("Markup", str)
"""Needs no escaping any more."""
NOTHING = Markup("")
UNKNOWN = "–"  # noqa: RUF001  # a dash
CONTROLS = {**dict.fromkeys([*range(32), 127], "\ufffd"), 9: " ", 10: " ", 13: " "}
"""No browser shows them; some must not be in HTML."""
MOST_SHOWN = 200
"""Characters of one text."""


def escaped(text: str) -> Markup:
    """Of anybody's text: as it reads, without what HTML may take for its own."""
    shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
    printable = shown.translate(CONTROLS).encode("utf-8", "replace").decode()
    return Markup(html.escape(printable))


def joined(parts: Iterable[Markup]) -> Markup:
    """One after another."""
    return Markup("\n".join(parts))


def cell(text: str, look: str = "") -> Markup:
    """`look`: a class of the style's, as "number"."""
    return _cell(escaped(text), look)


def number(text: str) -> Markup:
    """Of a column of numbers."""
    return cell(text, "number")


def state(text: str, *, good: bool) -> Markup:
    """In words, and in colour."""
    return cell(text, "good" if good else "bad")


def counted_state(value: int) -> Markup:
    """Of a column of numbers that should be 0."""
    return cell(count(value), "number bad" if value else "number")


def share(value: float | None) -> Markup:
    """A bar and its number."""
    if value is None:
        return number(UNKNOWN)
    bar = f'<meter min="0" max="1" value="{value:.4f}" aria-hidden="true"></meter>'
    return _cell(Markup(f'{bar}<span class="figure">{escaped(percent(value))}</span>'), "number")


def _cell(inside: Markup, look: str) -> Markup:
    said = f' class="{look}"' if look else ""
    return Markup(f"<td{said}>{inside}</td>")


def table(
    caption: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[Markup]]]
) -> Markup:
    """`columns`: the first names the rows; one that begins with "#" is of numbers. Can be scrolled
    by keyboard where it is too wide."""
    heads = "".join(
        f'<th scope="col"{_number_look(each)}>{escaped(each.removeprefix("#"))}</th>'
        for each in columns
    )
    body = "\n".join(
        f'<tr><th scope="row">{escaped(name)}</th>{"".join(cells)}</tr>' for name, cells in rows
    )
    if not body:
        body = f'<tr><td colspan="{len(columns)}" class="soft">none</td></tr>'
    said = escaped(caption)
    return Markup(
        f'<div class="wide" role="region" tabindex="0" aria-label="{said}"><table>'
        f"<caption>{said}</caption><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>"
        "</table></div>"
    )


def _number_look(column: str) -> str:
    return ' class="number"' if column.startswith("#") else ""


def section(anchor: str, title: str, *parts: Markup) -> Markup:
    """With a heading that can be gone to."""
    head = f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{escaped(title)}</h2>'
    return Markup(f"{head}\n{joined(parts)}\n</section>")


def paragraph(text: str) -> Markup:
    """Of prose."""
    return Markup(f"<p>{escaped(text)}</p>")


def percent(value: float) -> str:
    """Of a share."""
    return f"{100 * value:.1f} %"


def seconds(value: float | None) -> str:
    """As people say it."""
    if value is None:
        return UNKNOWN
    if value < 1:
        return f"{1000 * value:.1f} ms"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min"


def size(value: float | None) -> str:
    """Of bytes."""
    if value is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def count(value: float) -> str:
    """With groups of three."""
    return f"{value:,.0f}"


def moment(at: float) -> str:
    """Of a Unix time."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
