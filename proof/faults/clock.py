"""A worker with a wall clock of its own: `python -m proof.faults.clock AHEAD DRIFT`.

The clock is set before anything of the library is there. The monotonic one stays: the machine's.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable

Clock = Callable[[], float]


def skewed(ahead: float, drift: float, true: Clock = time.time) -> Clock:
    """A clock that is `ahead` seconds now, and `drift` more after each second."""
    began = time.monotonic()
    return lambda: true() + ahead + drift * (time.monotonic() - began)


if __name__ == "__main__":
    time.time = skewed(float(sys.argv[1]), float(sys.argv[2]))
    runpy.run_module("proof.faults.worker", run_name="__main__", alter_sys=True)
