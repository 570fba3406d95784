"""`python -m repocache.observers.monitoring rules|dashboard [namespace]` prints a file."""

from __future__ import annotations

import sys

from repocache.errors import ConfigurationError
from repocache.observers.monitoring import grafana_dashboard, prometheus_rules

PRINTED = {"rules": prometheus_rules, "dashboard": grafana_dashboard}
USAGE = f"python -m repocache.observers.monitoring {'|'.join(PRINTED)} [namespace]"


def main(words: list[str]) -> int:
    """The exit status: 2 for words that it does not know."""
    name, *more = words or [""]
    if name not in PRINTED or len(more) > 1:
        sys.stderr.write(f"{USAGE}\n")
        return 2
    try:
        sys.stdout.write(PRINTED[name](namespace=more[0] if more else "repocache"))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
