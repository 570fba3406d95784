"""What an application's routes may be kept for, as it has told the database: for maps and pages."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteDescription:
    """`template`: of its paths. `cache_control`: what browsers, and caches that know nothing more,
    are told; `targeted`: what CDNs are told instead, as `name: value`, empty: nothing. `vary`:
    headers that its answers depend on. `keeps_pages`: whole responses are kept here."""

    template: str
    cache_control: str
    targeted: str = ""
    vary: tuple[str, ...] = ()
    keeps_pages: bool = False

    @property
    def is_shared(self) -> bool:
        """Whether caches in front of the service may keep its answers."""
        return self.cache_control.startswith("public")
