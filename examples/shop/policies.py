"""What browsers and edges may keep of each route, and how kept pages are kept: all of it here."""

from __future__ import annotations

from repocache.http import Etag, NoStore, PageCache, Private, Public, Routes

THE_TENANT = ("scope:state.tenant",)
"""What `OfTenant` puts there is what the host says."""
PAGE = Public(max_age=0, s_maxage=600, scopes=("tenant",), sees=THE_TENANT, pages=True)
"""Browsers ask each time, and are told 304; edges have it until a commit purges it. The host is the
tenant, and every cache has the host in its keys."""
ASSET = Public(max_age=31_536_000, immutable=True, etag=Etag.BODY)
"""Its path names its version."""
SUGGESTIONS = Public(max_age=1, stale_while_revalidate=60, sees=THE_TENANT)
"""Nobody is harmed if they are a minute old, and no purge reaches a browser."""
ONE_S_OWN = Private(no_cache=True)
"""His browser keeps it, asks before each use, and forgets it when he logs out
(`Clear-Site-Data`)."""
ACCOUNT = NoStore()
"""What has a button to log out: a browser may keep the page that one leaves by it, whole, for going
back, after it has forgotten all others."""

ROUTES = Routes(
    {
        "/": PAGE,
        "/categories/{slug}": PAGE,
        "/products/{slug}": PAGE,
        "/suggestions/{id:int}": SUGGESTIONS,
        "/assets/{version}/{name}": ASSET,
        "/prices/{id:int}": NoStore(),
        "/views/{id:int}": NoStore(),
        "/cart": ONE_S_OWN,
        "/orders": ACCOUNT,
        "/login": ACCOUNT,
        "/admin": ACCOUNT,
        "/_reads": NoStore(),
    },
    ONE_S_OWN,
)
PAGES = PageCache(ttl=600, local_ttl=60, stale_while_revalidate=10)
"""A page that has just changed is made anew by one process; others may give the old one for ten
seconds, but never to who has written."""
COOKIES_GO = 'if (req.url ~ "^/($|[?]|(categories|products|suggestions|assets)/)") '
"""Of which requests Varnish takes the cookies away: those of `Public` routes, and no others."""
