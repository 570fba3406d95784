"""How many instructions of Python's a read or a commit takes, those of SQLAlchemy and asyncio with
them: the same at each run, whatever else the machine does.

    python3 dev.py instructions

The journeys are those of `benchmarks.journeys`. What is written in C (msgspec, hiredis, most of
asyncpg) counts as the one instruction that calls it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from benchmarks.journeys import HERE, measured


class Instructions:
    """Those of one journey. `count`: so far."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def followed(self) -> Iterator[None]:
        token = HERE.set(True)
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(None)
            HERE.reset(token)

    def _entered(self, frame: FrameType, _: str, __: Any) -> Any:
        if not HERE.get():
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._stepped

    def _stepped(self, _: FrameType, kind: str, __: Any) -> Any:
        self.count += kind == "opcode"
        return self._stepped


def main() -> None:
    found = {name: each.count for name, each in asyncio.run(measured(Instructions)).items()}
    if "--json" in sys.argv:
        return print(json.dumps(found))
    print("| journey | instructions |")
    print("|---|--:|")
    for name, count in found.items():
        print(f"| {name} | {count:,} |")


if __name__ == "__main__":
    main()
