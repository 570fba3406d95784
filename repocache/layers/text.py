"""The layers as plain text, and as a Mermaid flowchart. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from repocache.layers.layer import Layer

MOST = 100
"""Characters of a line in a box of Mermaid's."""


def as_text(layers: Iterable[Layer]) -> str:
    """A paragraph for each layer."""
    return "\n".join(line for each in layers for line in _lines(each))


def _lines(layer: Layer) -> Iterator[str]:
    mark = "|" if layer.is_configured else ":"
    yield f"{layer.name}"
    yield f"  {mark} {layer.about}"
    for each in layer.holdings:
        yield f"  {mark} {each.what}: {each.life}"
    if layer.live:
        yield f"  {mark} {'now' if layer.is_well else 'TROUBLE'}: {layer.live}"


def as_mermaid(layers: Sequence[Layer]) -> str:
    """A flowchart from the first layer that answers to the last; the others are dashed."""
    lines = ["flowchart TD"]
    lines += [f'  l{number}["{_box(each)}"]' for number, each in enumerate(layers)]
    lines += [
        f"  l{here} {'-->' if layers[here].is_configured else '-.->'} l{below}"
        for here, below in pairwise(range(len(layers)))
    ]
    away = [f"l{number}" for number, each in enumerate(layers) if not each.is_configured]
    if away:
        lines += ["  classDef away stroke-dasharray: 4 4, opacity: 0.6"]
        lines += [f"  class {','.join(away)} away"]
    unwell = [f"l{number}" for number, each in enumerate(layers) if not each.is_well]
    if unwell:
        lines += ["  classDef trouble stroke: #c00, stroke-width: 3px"]
        lines += [f"  class {','.join(unwell)} trouble"]
    return "\n".join(lines)


def _box(layer: Layer) -> str:
    told = [f"<b>{_escaped(layer.name)}</b>", _escaped(layer.about)]
    told += [_escaped(f"{each.what}: {each.life}") for each in layer.holdings]
    told += [_escaped(layer.live)] if layer.live else []
    return "<br/>".join(told)


def _escaped(text: str) -> str:
    """Nothing of it ends the box or begins an element."""
    cut = text if len(text) <= MOST else f"{text[: MOST - 3]}..."
    for char, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        cut = cut.replace(char, code)
    return "".join(each if each.isprintable() else "?" for each in cut)
