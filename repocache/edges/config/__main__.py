"""`python -m repocache.edges.config varnish|nginx` prints a file."""

from __future__ import annotations

import sys

from repocache.edges.config import nginx_conf, varnish_vcl

PRINTED = {"varnish": varnish_vcl, "nginx": nginx_conf}
USAGE = f"python -m repocache.edges.config {'|'.join(PRINTED)}"


def main(words: list[str]) -> int:
    """The exit status: 2 for words that it does not know."""
    if len(words) != 1 or words[0] not in PRINTED:
        sys.stderr.write(f"{USAGE}\n")
        return 2
    sys.stdout.write(PRINTED[words[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
