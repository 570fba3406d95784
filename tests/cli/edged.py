"""An application behind an edge, for commands to find."""

from __future__ import annotations

from pathlib import Path

from repocache.testing import Endpoints
from tests.edges.playing import SERVICE, TOKEN

FASTLY = (
    "from repocache.edges.fastly import Fastly\n"
    "EDGE = Fastly({service!r}, {token!r}, url={url!r})\n"
)
VARNISH = (
    "from repocache.edges.varnish import Varnish\nEDGE = Varnish({url!r}, secret={secret!r})\n"
)


def write_edged(folder: Path, ends: Endpoints, url: str, *, token: str = TOKEN) -> None:
    """`shop_data:db`, the shop behind a Fastly that is played at this URL."""
    write(folder, ends, FASTLY.format(service=SERVICE, token=token, url=url))


def write_behind_varnish(folder: Path, ends: Endpoints, url: str, secret: str) -> None:
    """The same behind a Varnish."""
    write(folder, ends, VARNISH.format(url=url, secret=secret))


def write(folder: Path, ends: Endpoints, edge: str) -> None:
    (folder / "shop_data.py").write_text(
        "from repocache import Database\nfrom tests.shop import REPOSITORIES\n"
        "from repocache.edges.declared import Edges\n"
        f"{edge}"
        f"db = Database({ends.primary!r}, replicas={list(ends.replicas)!r}, redis={ends.redis!r},"
        "repositories=REPOSITORIES, edges=Edges(EDGE, app='shop', transit=0.3))\n"
    )
