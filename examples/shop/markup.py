"""HTML of small parts. Every text that is not this application's own is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable

HUES = ("#c0532f", "#2f7f6b", "#3b62a8", "#8a5a9e", "#b08a1e", "#58708a")
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], "\ufffd")
"""Must not be in HTML."""


def escaped(text: object) -> str:
    return html.escape(str(text).translate(CONTROLS))


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} €"


def stars(number: int) -> str:
    return f'<span class="stars" aria-label="{number} of 5 stars">{"★" * number}</span>'


def field(name: str, label: str, *, kind: str = "text", value: str = "") -> str:
    return (
        f'<label>{escaped(label)} <input name="{escaped(name)}" type="{kind}" '
        f'value="{escaped(value)}" required></label>'
    )


def form(action: str, button: str, *inside: str) -> str:
    """That is sent by POST."""
    return (
        f'<form method="post" action="{escaped(action)}">{"".join(inside)}'
        f"<button>{escaped(button)}</button></form>"
    )


def hidden(name: str, value: object) -> str:
    return f'<input type="hidden" name="{escaped(name)}" value="{escaped(value)}">'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]], caption: str = "") -> str:
    """`heads`: one that begins with "#" is of numbers. `rows`: of markup."""
    names = list(heads)
    looks = [' class="number"' if name.startswith("#") else "" for name in names]
    head = "".join(
        f'<th scope="col"{look}>{escaped(name.removeprefix("#"))}</th>'
        for name, look in zip(names, looks, strict=True)
    )
    body = "\n".join(
        f"<tr>{''.join(f'<td{look}>{cell}</td>' for cell, look in zip(row, looks, strict=True))}"
        "</tr>"
        for row in rows
    )
    said = f"<caption>{escaped(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{said}<thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def picture(id: int) -> str:
    """Of a product, drawn from its id."""
    hue, other = HUES[id % len(HUES)], HUES[(id // len(HUES) + id + 2) % len(HUES)]
    turn = id * 37 % 90
    return (
        '<svg class="picture" viewBox="0 0 120 90" aria-hidden="true">'
        f'<rect width="120" height="90" fill="{hue}" fill-opacity="0.16"/>'
        f'<g transform="rotate({turn} 60 45)"><circle cx="48" cy="45" r="24" fill="{hue}"/>'
        f'<rect x="54" y="27" width="36" height="36" rx="5" fill="{other}" '
        'fill-opacity="0.82"/></g></svg>'
    )
