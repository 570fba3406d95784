"""What one sees while the demo runs: a live picture on a terminal, lines elsewhere, nothing for
`--json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from repocache.demo.tally import Figures

PLACES = ("L1", "L2", "replica1", "replica2", "primary")
COLOURS = {"L1": "green", "L2": "cyan", "primary": "magenta"}
BAR = 40
CALM_BYTES = 64 * 1024
LINE_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """`elapsed`, `seconds`: of this contestant's run. `now`: the fault that holds, "" for none.
    `lags`: bytes of WAL by replica. `services`: by name, whether they run."""

    title: str
    elapsed: float
    seconds: float
    now: str
    figures: Figures
    lags: Mapping[str, int]
    services: Mapping[str, bool]


class Show(Protocol):
    """A context manager that is told what to show."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def say(self, line: str) -> None:
        """What is being done, between the moments."""

    def moment(self, moment: Moment) -> None:
        """Several times a second."""


class Silent:
    """The null show."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        pass

    def moment(self, moment: Moment) -> None:
        pass


class Lines:
    """For pipes and logs: a line a second, and one for each fault."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ("", -LINE_EVERY, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)

    def moment(self, moment: Moment) -> None:
        title, shown, now = self._last
        if title == moment.title and now == moment.now and moment.elapsed - shown < LINE_EVERY:
            return
        self._last = (moment.title, moment.elapsed, moment.now)
        figures = moment.figures
        lags = ", ".join(
            f"{name} {size(lag)} behind" for name, lag in moment.lags.items() if lag > CALM_BYTES
        )
        parts = [f"{moment.elapsed:5.1f} s", f"{moment.title:9}", headline(figures)]
        self.say("  ".join([*parts, *filter(None, [lags, moment.now])]))


class Picture:
    """For a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(Text(""), console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        self._live.console.print(line, highlight=False)

    def moment(self, moment: Moment) -> None:
        self._live.update(draw(moment))


def draw(moment: Moment) -> RenderableType:
    """The whole picture."""
    figures = moment.figures
    head = Text.assemble(
        (moment.title, "bold"),
        f"   {min(moment.elapsed, moment.seconds):.1f} of {moment.seconds:.0f} s",
    )
    fault = Text(moment.now or "all is well", style="bold red" if moment.now else "dim")
    return Group(
        Text(""),
        head,
        fault,
        Text(""),
        bars(moment),
        Text(""),
        Text(headline(figures)),
        services(moment),
    )


def bars(moment: Moment) -> Table:
    """A row for each place that may answer a read: its share of the last second, and what it did in
    all."""
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "right", "left"):
        table.add_column(justify=justify)
    table.add_row(
        "", Text("reads of the last second", style="dim"), "", Text("in all", style="dim"), ""
    )
    figures, recent = moment.figures, sum(moment.figures.places.values())
    for place in PLACES:
        count = figures.places.get(place, 0)
        bar = Text("█" * round(BAR * count / max(recent, 1)), style=COLOURS.get(place, "blue"))
        bar.pad_right(BAR - len(bar))
        table.add_row(
            place, bar, f"{count:,}", f"{figures.total.get(place, 0):,}", state(place, moment)
        )
    return table


def state(place: str, moment: Moment) -> Text:
    """What is to be said of a replica."""
    if place not in moment.lags:
        return Text("")
    lag = moment.lags[place]
    out = "  out of the rotation" if place in moment.figures.out else ""
    return Text(f"{size(lag)} behind{out}", style="red" if lag > CALM_BYTES or out else "dim")


def services(moment: Moment) -> Text:
    """The processes: running, hearing of invalidations, or gone."""
    text = Text("channel  " if moment.figures.channels else "", style="dim")
    for name, runs in moment.services.items():
        hears = moment.figures.channels.get(name)
        words, style = ("killed", "red") if not runs else ("", "dim")
        if runs and hears is not None:
            words, style = ("up", "green") if hears else ("down", "red")
        text.append(f"{name} {words}".strip() + "  ", style=style)
    return text


def headline(figures: Figures) -> str:
    """The figures of the last second in one line."""
    return (
        f"{sum(figures.places.values()):,} reads/s  {figures.hit_rate:4.0%} hits  p50 "
        f"{figures.p50:5.2f} ms  p99 {figures.p99:6.1f} ms  {figures.writes:,} writes  "
        f"{figures.errors} errors"
    )


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1024:,.0f} kB" if count else "0 kB"
