"""How many examples a fuzzer tries: in the suite few, `REPOCACHE_FUZZ` times as many in a longer
run."""

from __future__ import annotations

import os

TIMES = int(os.environ.get("REPOCACHE_FUZZ", "1"))


def examples(number: int) -> int:
    """For `settings(max_examples=)`. `number`: in the suite."""
    return number * TIMES
