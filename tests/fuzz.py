"""Fuzz whatever reads foreign bytes, with new seeds until the time is over:
`python -m tests.fuzz [--minutes 60]`.

Two parsers at a time, each in rounds of pytest. Exits with 1 at the first finding, with the command
that repeats it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import secrets
import subprocess
import sys
import threading
import time

PARSERS = {
    "RESP": "tests/redis_link/test_lies.py",
    "frames": "tests/redis_link/test_frames.py",
    "records": "tests/records/test_garbage.py",
    "values": "tests/cache/test_codec_fuzz.py",
    "messages": "tests/test_message.py",
    "bookmarks": "tests/test_bookmark.py",
    "bookmarks in a request": "tests/database/test_hostile_bookmarks.py",
    "outbox rows": "tests/outbox/test_rows_fuzz.py",
    "URLs": "tests/test_urls.py",
    "preconditions": "tests/web/caching/test_preconditions.py",
    "paths": "tests/web/caching/test_routes.py",
    "a request's header": "tests/web/caching/test_lines.py",
}
LANES = 2
TIMES = "10"
"""As many examples a round as the suite has, and so many times more."""


class Fuzzing:
    """What is still to be done, shared by the lanes."""

    def __init__(self, minutes: float) -> None:
        self._until = time.monotonic() + 60 * minutes
        self._next = itertools.cycle(PARSERS)
        self._lock = threading.Lock()
        self.rounds = dict.fromkeys(PARSERS, 0)
        self.finding = ""

    def lane(self) -> None:
        """Rounds, one after the other, until the time is over or something is found."""
        while not self.finding and time.monotonic() < self._until:
            with self._lock:
                parser = next(self._next)
            self._round(parser, secrets.randbelow(1 << 32))

    def _round(self, parser: str, seed: int) -> None:
        pytest = [
            "-m",
            "pytest",
            "-q",
            "--timeout",
            "0",
            f"--hypothesis-seed={seed}",
            PARSERS[parser],
        ]
        environment = os.environ | {"REPOCACHE_FUZZ": TIMES}
        done = subprocess.run(
            [sys.executable, *pytest], env=environment, capture_output=True, text=True, check=False
        )
        with self._lock:
            self.rounds[parser] += 1
            if done.returncode:
                self.finding = (
                    f"{done.stdout}{done.stderr}\nfound: REPOCACHE_FUZZ={TIMES} python "
                    f"{' '.join(pytest)}"
                )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, metavar="MINUTES")
    fuzzing = Fuzzing(parser.parse_args().minutes)
    lanes = [threading.Thread(target=fuzzing.lane) for _ in range(LANES)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    print(", ".join(f"{name} {number} rounds" for name, number in fuzzing.rounds.items()))
    print(fuzzing.finding or "nothing found")
    return 1 if fuzzing.finding else 0


if __name__ == "__main__":
    sys.exit(main())
