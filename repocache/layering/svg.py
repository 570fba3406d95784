"""The tiers as one SVG: no foreign asset, no script, light and dark. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from repocache.layering.drawn_tier import DrawnTier

WIDTH = 960
MARGIN, NAME, LINE, GAP = 24, 190, 20, 18
LETTER, BOLD, TALL = 7.0, 8.2, 10.0
"""Pixels of a letter of 13 px, of a bold one, and of a bold one of 16 px, about: no font is
measured."""
STYLE = """
  .back { fill: #ffffff } .box { fill: #f4f6fb; stroke: #4b5d8a; stroke-width: 1.5 }
  .away .box { fill: none; stroke: #b6bcc9; stroke-dasharray: 5 5 }
  .trouble .box { stroke: #b3261e; stroke-width: 3 }
  text { font: 13px system-ui, sans-serif; fill: #1d2433 }
  .name { font-weight: 600; font-size: 16px } .quiet, .away text { fill: #667085 }
  .life { fill: #2f4a8f } .live { fill: #1a6b3c } .trouble .live { fill: #b3261e; font-weight: 600 }
  .way { stroke: #98a2b3; stroke-width: 2; fill: none } .tip { fill: #98a2b3 }
  @media (prefers-color-scheme: dark) {
    .back { fill: #12151c } .box { fill: #1c2230; stroke: #8ea2d6 }
    .away .box { fill: none; stroke: #4a5264 } .trouble .box { stroke: #ff8a80 }
    text { fill: #e6e9f0 } .quiet, .away text { fill: #98a2b3 }
    .life { fill: #a9c0ff } .live { fill: #7ddba3 } .trouble .live { fill: #ff8a80 }
  }
"""


def as_svg(tiers: Sequence[DrawnTier], title: str) -> str:
    """`title`: of the picture, for those who hear it too. Each tier is a box under the one that
    asks it."""
    boxes: list[str] = []
    top = MARGIN + 34.0
    for number, tier in enumerate(tiers):
        if number:
            boxes.append(_way(top - GAP, top))
        lines = list(_lines(tier))
        names = _wrapped(tier.name, NAME - 16, TALL)
        height = 20.0 + LINE * max(len(names), len(lines))
        boxes += _box(tier, lines, top, height)
        top += height + GAP
    end = top - GAP + MARGIN
    size = f'width="{WIDTH}" height="{end:g}" role="img" aria-labelledby="title what"'
    described = "; ".join(f"{each.name}: {each.about}" for each in tiers)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {end:g}" {size}>',
            f'<title id="title">{_text(title)}</title><desc id="what">{_text(described)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="back" width="{WIDTH}" height="{end:g}"/>',
            f'<text class="name" x="{MARGIN}" y="{MARGIN + 14}">{_text(title)}</text>',
            *boxes,
            "</svg>",
            "",
        ]
    )


def _box(
    tier: DrawnTier, lines: Sequence[tuple[str, str, str]], top: float, height: float
) -> Iterator[str]:
    kind = "away" if not tier.is_configured else "" if tier.is_well else "trouble"
    yield f'<g class="{kind}">' if kind else "<g>"
    yield (
        f'<rect class="box" x="{MARGIN}" y="{top:g}" width="{WIDTH - 2 * MARGIN}" '
        f'height="{height:g}" rx="8"/>'
    )
    names = _wrapped(tier.name, NAME - 16, TALL)
    for number, name in enumerate(names):
        y = top + 25 + LINE * number
        yield f'<text class="name" x="{MARGIN + 16}" y="{y:g}">{_text(name)}</text>'
    for number, (style, text, after) in enumerate(lines):
        y = top + 24 + LINE * number
        more = f' <tspan class="life">{_text(after)}</tspan>' if after else ""
        yield f'<text class="{style}" x="{MARGIN + NAME}" y="{y:g}">{_text(text)}{more}</text>'
    yield "</g>"


def _lines(tier: DrawnTier) -> Iterator[tuple[str, str, str]]:
    """Style, text, and what follows it in another."""
    room = WIDTH - 2 * MARGIN - NAME - 16
    for part in _wrapped(tier.about, room):
        yield "quiet", part, ""
    for each in tier.holdings:
        *front, last = _wrapped(each.what, room - LETTER * (len(each.life) + 2))
        yield from (("what", part, "") for part in front)
        yield "what", last, each.life
    for part in _wrapped(tier.live, room, BOLD) if tier.live else ():
        yield "live", part, ""


def _way(begin: float, end: float) -> str:
    middle = WIDTH / 2
    return (
        f'<path class="way" d="M{middle:g} {begin:g} V{end - 6:g}"/>'
        f'<path class="tip" d="M{middle - 5:g} {end - 7:g} h10 l-5 7 z"/>'
    )


def _wrapped(text: str, room: float, letter: float = LETTER) -> list[str]:
    """In lines of about so many pixels; a word that is longer is cut."""
    most = max(8, int(room / letter))
    lines = [""]
    for word in text.split():
        rest = word
        while len(rest) > most:
            lines.append(rest[:most])
            rest = rest[most:]
        joined = f"{lines[-1]} {rest}".strip()
        if len(joined) <= most:
            lines[-1] = joined
        else:
            lines.append(rest)
    return [each for each in lines if each] or [""]


def _text(text: str) -> str:
    return escape("".join(each if each.isprintable() else "?" for each in text))
