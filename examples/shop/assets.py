"""The style and the script, under paths that name their version."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

FOLDER = Path(__file__).parent / "assets"
KINDS = {"shop.css": "text/css", "shop.js": "text/javascript"}
router = APIRouter()


@dataclass(frozen=True)
class Assets:
    """`version`: of all of them together."""

    version: str
    bodies: dict[str, bytes]

    @classmethod
    def read(cls) -> Assets:
        bodies = {name: (FOLDER / name).read_bytes() for name in KINDS}
        digest = hashlib.blake2b(b"\0".join(bodies[name] for name in sorted(bodies)), digest_size=8)
        return cls(digest.hexdigest(), bodies)

    def path(self, name: str) -> str:
        return f"/assets/{self.version}/{name}"


def assets_of(request: Request) -> Assets:
    found: Assets = request.app.state.assets
    return found


@router.get("/assets/{version}/{name}")
async def asset(version: str, name: str, request: Request) -> Response:
    """Another release's path is not this one's to answer: nobody may keep that for a year."""
    assets = assets_of(request)
    if version != assets.version or name not in assets.bodies:
        raise HTTPException(404, headers={"Cache-Control": "no-store"})
    return Response(assets.bodies[name], media_type=KINDS[name])
