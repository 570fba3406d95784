"""The tiers as plain text, and as a Mermaid flowchart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from repocache.layering.drawn_tier import DrawnTier

MOST = 100
"""Characters of a line in a box of Mermaid's."""


def as_text(tiers: Iterable[DrawnTier]) -> str:
    """A paragraph for each tier."""
    return "\n".join(line for each in tiers for line in _lines(each))


def _lines(tier: DrawnTier) -> Iterator[str]:
    mark = "|" if tier.is_configured else ":"
    yield f"{tier.name}"
    yield f"  {mark} {tier.about}"
    for each in tier.holdings:
        yield f"  {mark} {each.what}: {each.life}"
    if tier.live:
        yield f"  {mark} {'now' if tier.is_well else 'TROUBLE'}: {tier.live}"


def as_mermaid(tiers: Sequence[DrawnTier]) -> str:
    """A flowchart from the first tier that answers to the last; the others are dashed."""
    lines = ["flowchart TD"]
    lines += [f'  l{number}["{_box(each)}"]' for number, each in enumerate(tiers)]
    lines += [
        f"  l{here} {'-->' if tiers[here].is_configured else '-.->'} l{below}"
        for here, below in pairwise(range(len(tiers)))
    ]
    away = [f"l{number}" for number, each in enumerate(tiers) if not each.is_configured]
    if away:
        lines += ["  classDef away stroke-dasharray: 4 4, opacity: 0.6"]
        lines += [f"  class {','.join(away)} away"]
    unwell = [f"l{number}" for number, each in enumerate(tiers) if not each.is_well]
    if unwell:
        lines += ["  classDef trouble stroke: #c00, stroke-width: 3px"]
        lines += [f"  class {','.join(unwell)} trouble"]
    return "\n".join(lines)


def _box(tier: DrawnTier) -> str:
    told = [f"<b>{_escaped(tier.name)}</b>", _escaped(tier.about)]
    told += [_escaped(f"{each.what}: {each.life}") for each in tier.holdings]
    told += [_escaped(tier.live)] if tier.live else []
    return "<br/>".join(told)


def _escaped(text: str) -> str:
    """Nothing of it ends the box or begins an element."""
    cut = text if len(text) <= MOST else f"{text[: MOST - 3]}..."
    for char, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        cut = cut.replace(char, code)
    return "".join(each if each.isprintable() else "?" for each in cut)
