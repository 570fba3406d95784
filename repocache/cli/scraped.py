"""Figures of running processes, as their Prometheus endpoints tell them: read by this file alone,
without that library."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from repocache.cli.frame import CommandRefused

LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \d+)?")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
PATIENCE = 5.0
"""Seconds for one endpoint."""
MOST = 16 * 1024 * 1024
"""Bytes of one answer."""


@dataclass(frozen=True, slots=True)
class OwnerFigures:
    """One owner's, of all processes that were asked, since they began. `reads`: by the tier that
    answered. `seconds`, `loads`: what its statements took in all, and how many there were.
    `distinct`: keys that were read past L1, about; `bytes`: of values that Redis gave."""

    reads: Mapping[str, float]
    seconds: float = 0.0
    loads: float = 0.0
    distinct: float = 0.0
    bytes: float = 0.0
    serial: float = 0.0

    @property
    def total(self) -> float:
        """All reads."""
        return sum(self.reads.values())

    def share(self, *tiers: str) -> float:
        """Of the reads, that these answered; 0 without any."""
        return sum(self.reads.get(each, 0.0) for each in tiers) / (self.total or 1.0)


Samples = Iterable[tuple[str, Mapping[str, str], float]]
"""Name, labels and value of each."""


def scrape(urls: Iterable[str]) -> dict[str, OwnerFigures]:
    """By the owner's prefix. `urls`: of the `/metrics` of each process or server. Raises
    CommandRefused for one that does not answer, or has nothing of this library."""
    samples: list[tuple[str, Mapping[str, str], float]] = []
    for url in urls:
        own = list(parse(fetched(url)))
        if not any(name.startswith("repocache_") for name, _, _ in own):
            raise CommandRefused(f"--metrics {url}: nothing of repocache is in it")
        samples += own
    return figures_of(samples)


def fetched(url: str) -> str:
    """Raises CommandRefused."""
    if not url.startswith(("http://", "https://")):
        raise CommandRefused(f"--metrics {url}: give a URL, as in http://127.0.0.1:8000/metrics")
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  # checked above
            return str(answer.read(MOST).decode(errors="replace"))
    except (OSError, ValueError) as error:
        raise CommandRefused(f"--metrics {url}: {error}") from error


def parse(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """Of the text format; lines that say nothing are left out."""
    for line in text.splitlines():
        match = LINE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = float(match["value"])
        except ValueError:
            continue
        yield match["name"], dict(LABEL.findall(match["labels"] or "")), value


def figures_of(samples: Samples) -> dict[str, OwnerFigures]:
    """By the owner's prefix."""
    reads: dict[str, dict[str, float]] = {}
    others: dict[str, dict[str, float]] = {}
    named = {
        "repocache_load_seconds_sum": "seconds",
        "repocache_load_seconds_count": "loads",
        "repocache_keys_distinct": "distinct",
        "repocache_redis_read_bytes_total": "bytes",
        "repocache_serial_reads_total": "serial",
    }
    for name, labels, value in samples:
        owner = labels.get("owner", "")
        if name == "repocache_reads_total":
            tiers = reads.setdefault(owner, {})
            tier = labels.get("tier", "")
            tiers[tier] = tiers.get(tier, 0.0) + value
        elif name in named:
            of_owner = others.setdefault(owner, {})
            field = named[name]
            of_owner[field] = of_owner.get(field, 0.0) + value
    return {
        owner: OwnerFigures(reads.get(owner, {}), **others.get(owner, {}))
        for owner in sorted({*reads, *others})
    }
