"""The command line, an extra: `pip install sqlalchemy-repocache[cli]`, and `[demo]` for the demo.

Owns nothing but the word that an extra is missing; the commands are in `commands`.
"""

import runpy
import sys
from importlib.util import find_spec

NEEDED = ("typer", "rich")


def main() -> None:
    """The console script `repocache`. Imports no extra before it is known to be there."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        sys.exit(
            f"repocache: {', '.join(missing)} not found: pip install 'sqlalchemy-repocache[cli]'"
        )
    runpy.run_module("repocache.cli.commands", run_name="__main__")
