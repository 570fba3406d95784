"""What a route's answers may be kept for, and what a cache in front of it is told: pure parts, from
a declared policy to the lines of an answer."""

from repocache.http.caching.policy import CdnControl, Etag, NoStore, Private, Public, RoutePolicy
from repocache.http.caching.routes import Routes

__all__ = ["CdnControl", "Etag", "NoStore", "Private", "Public", "RoutePolicy", "Routes"]
