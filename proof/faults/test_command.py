"""The command's exit status, and what it does about a round that does not come to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proof.faults import __main__ as command
from proof.faults.ground import Ground
from proof.faults.records import Entry
from proof.faults.round import Plan
from proof.faults.verdict import Verdict, Violation

GOOD = Verdict((), {}, 0.0)
BAD = Verdict((Violation("own write", "w1.1", "key 1", 0),), {}, 0.0)


class Mended:
    """In the servers' place: counts how often they were mended."""

    def __init__(self) -> None:
        self.times = 0

    def mend(self) -> None:
        self.times += 1


class Play:
    """In the place of rounds: verdicts, or what they broke with. `minutes` end after the last."""

    def __init__(self, *outcomes: Verdict | Exception) -> None:
        self.plans: list[Plan] = []
        self._outcomes = list(outcomes)

    def __call__(self, _: Ground, plan: Plan) -> tuple[list[Entry], Verdict]:
        self.plans.append(plan)
        plan.folder.mkdir(parents=True)
        outcome = self._outcomes[len(self.plans) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return [], outcome

    def monotonic(self) -> float:
        return 0.0 if len(self.plans) < len(self._outcomes) else 1e9


def run(
    monkeypatch: pytest.MonkeyPatch, out: Path, *outcomes: Verdict | Exception
) -> tuple[int, Play, Mended]:
    servers, play = Mended(), Play(*outcomes)

    @contextmanager
    def started() -> Iterator[Mended]:
        yield servers

    monkeypatch.setattr(command, "ground", started)
    monkeypatch.setattr(command, "play", play)
    monkeypatch.setattr(command, "time", play)
    return command.main(["--minutes", "60", "--seed", "s", "--out", str(out)]), play, servers


def test_good_rounds_leave_no_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status, play, _ = run(monkeypatch, tmp_path, GOOD, GOOD)
    assert (status, [plan.seed for plan in play.plans]) == (0, ["s/1", "s/2"])
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_a_violation_fails_the_run_and_leaves_its_history_and_a_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, _ = run(monkeypatch, tmp_path, BAD, GOOD)
    assert status == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s-1", "s.json"]
    assert "dev.py faults --minutes 1 --seed s --round 1" in capsys.readouterr().out


def test_a_round_that_breaks_fails_the_run_and_the_next_one_begins_on_mended_servers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, play, servers = run(monkeypatch, tmp_path, ConnectionError("gone"), GOOD)
    assert (status, len(play.plans), servers.times) == (1, 2, 1)
    said = capsys.readouterr().out
    assert "s-1 broke; again: python3 dev.py faults --minutes 1 --seed s --round 1" in said
    assert "rounds that broke: 1" in said
