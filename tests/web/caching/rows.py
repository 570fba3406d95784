"""What HTTP's RFCs ask of the caching parts, row by row: docs/http.md shows these tables, and
test_conformance.py runs each row.

A request is written as `METHOD`, and its header lines behind ` + `. A stored state is the ETag, and
when it was last modified, on 6 November 1994; `absent`: there is no representation.
"""

from __future__ import annotations

CONDITIONAL = [
    ("9110 13.2.2", "GET", '"a"', "200"),
    ("9110 13.1.2", 'GET + If-None-Match: "a"', '"a"', "304"),
    ("9110 13.1.2", 'HEAD + If-None-Match: "a"', '"a"', "304"),
    ("9110 13.1.2", 'GET + If-None-Match: "b"', '"a"', "200"),
    ("9110 13.1.2", 'GET + If-None-Match: "b", "a"', '"a"', "304"),
    ("9110 5.3", 'GET + If-None-Match: "b" + If-None-Match: "a"', '"a"', "304"),
    ("9110 8.8.3.2", 'GET + If-None-Match: W/"a"', '"a"', "304"),
    ("9110 8.8.3.2", 'GET + If-None-Match: "a"', 'W/"a"', "304"),
    ("9110 8.8.3.2", 'GET + If-None-Match: W/"a"', 'W/"a"', "304"),
    ("9110 8.8.3", 'GET + If-None-Match: "A"', '"a"', "200"),
    ("9110 13.1.2", "GET + If-None-Match: *", '"a"', "304"),
    ("9110 13.1.2", "GET + If-None-Match: *", "no ETag", "304"),
    ("9110 13.1.2", 'GET + If-None-Match: "a"', "no ETag", "200"),
    ("9110 13.1.2", 'PUT + If-None-Match: "a"', '"a"', "412"),
    ("9110 13.1.2", 'DELETE + If-None-Match: "b"', '"a"', "done"),
    ("9110 13.1.2", "PUT + If-None-Match: *", '"a"', "412"),
    ("9110 13.1.2", "PUT + If-None-Match: *", "absent", "done"),
    ("9110 5.6.1.2", 'GET + If-None-Match: , ,"a",', '"a"', "304"),
    ("9110 8.8.3", 'GET + If-None-Match: "b,c", "a"', '"a"', "304"),
    ("9110 8.8.3", 'GET + If-None-Match: ""', '""', "304"),
    ("9110 8.8.3", "GET + If-None-Match: a", '"a"', "200"),
    ("9110 8.8.3", 'GET + If-None-Match: "a" "b"', '"a"', "200"),
    ("9110 8.8.3", 'GET + If-None-Match: "a', '"a"', "200"),
    ("9110 8.8.3", 'GET + If-None-Match: w/"a"', '"a"', "200"),
    ("9110 8.8.3", 'GET + If-None-Match: "a", *', '"a"', "200"),
    ("9110 8.8.3", 'PUT + If-None-Match: "b", x', '"a"', "412"),
    ("9110 13.1.1", 'PUT + If-Match: "a"', '"a"', "done"),
    ("9110 13.1.1", 'PUT + If-Match: "b"', '"a"', "412"),
    ("9110 13.1.1", 'PUT + If-Match: "b", "a"', '"a"', "done"),
    ("9110 8.8.3.2", 'PUT + If-Match: W/"a"', '"a"', "412"),
    ("9110 8.8.3.2", 'PUT + If-Match: "a"', 'W/"a"', "412"),
    ("9110 13.1.1", "PUT + If-Match: *", '"a"', "done"),
    ("9110 13.1.1", "PUT + If-Match: *", "absent", "412"),
    ("9110 13.1.1", 'PUT + If-Match: "a"', "absent", "412"),
    ("9110 13.1.1", 'PUT + If-Match: "a"', "no ETag", "412"),
    ("9110 13.1.1", "PUT + If-Match: a", '"a"', "412"),
    ("9110 13.1.1", 'GET + If-Match: "b"', '"a"', "412"),
    ("9110 13.2.2", 'GET + If-Match: "a" + If-None-Match: "a"', '"a"', "304"),
    ("9110 13.2.2", 'GET + If-Match: "b" + If-None-Match: "a"', '"a"', "412"),
    ("9110 13.1.3", "GET + If-Modified-Since: 08:49:37", "no ETag, 08:49:37", "304"),
    ("9110 13.1.3", "GET + If-Modified-Since: 08:49:38", "no ETag, 08:49:37", "304"),
    ("9110 13.1.3", "GET + If-Modified-Since: 08:49:36", "no ETag, 08:49:37", "200"),
    ("9110 13.1.3", "HEAD + If-Modified-Since: 08:49:37", "no ETag, 08:49:37", "304"),
    ("9110 13.1.3", "POST + If-Modified-Since: 08:49:37", "no ETag, 08:49:37", "done"),
    ("9110 13.1.3", "GET + If-Modified-Since: 08:49:37", '"a"', "200"),
    ("9110 13.1.3", "GET + If-Modified-Since: yesterday", "no ETag, 08:49:37", "200"),
    ("9110 13.1.3", "GET + If-Modified-Since: 25:00:00", "no ETag, 08:49:37", "200"),
    (
        "9110 13.1.3",
        'GET + If-None-Match: "b" + If-Modified-Since: 08:49:37',
        '"a", 08:49:37',
        "200",
    ),
    (
        "9110 13.1.3",
        "GET + If-Modified-Since: 08:49:37 + If-Modified-Since: 08:49:37",
        "no ETag, 08:49:37",
        "200",
    ),
    ("9110 13.1.4", "PUT + If-Unmodified-Since: 08:49:37", '"a", 08:49:37', "done"),
    ("9110 13.1.4", "PUT + If-Unmodified-Since: 08:49:36", '"a", 08:49:37', "412"),
    ("9110 13.1.4", "PUT + If-Unmodified-Since: 08:49:36", '"a"', "done"),
    ("9110 13.1.4", "PUT + If-Unmodified-Since: yesterday", '"a", 08:49:37', "done"),
    (
        "9110 13.1.4",
        'PUT + If-Match: "a" + If-Unmodified-Since: 08:49:36',
        '"a", 08:49:37',
        "done",
    ),
    ("9110 13.2.1", 'GET + If-None-Match: "a"', '"a", answered 404', "404"),
    ("9110 13.2.1", 'GET + If-None-Match: "a"', '"a", answered 301', "301"),
    ("9110 13.2.1", 'PUT + If-Match: "b"', '"a", answered 403', "403"),
    ("9110 14.2", 'GET + Range: bytes=0-9 + If-None-Match: "a"', '"a"', "200"),
    ("9110 13.1.5", 'GET + Range: bytes=0-9 + If-Range: "a"', '"a"', "200"),
    ("9110 15.3.7", 'GET + If-None-Match: "a"', '"a", answered 206', "206"),
    ("9110 14.2", 'HEAD + Range: bytes=0-9 + If-None-Match: "a"', '"a"', "304"),
]
"""Section, request, stored state, and the status, or `done` for a method that writes."""

DIRECTIVES = [
    ("9111 5.2.2.9", "Public(max_age=60)", "public, max-age=60"),
    ("9111 5.2.2.1", "Public(max_age=0)", "public, max-age=0"),
    ("9111 5.2.2.10", "Public(max_age=0, s_maxage=600)", "public, max-age=0, s-maxage=600"),
    ("9111 5.2.2.4", "Public(no_cache=True)", "public, no-cache"),
    ("9111 5.2.2.7", "Private(no_cache=True)", "private, no-cache"),
    ("9111 5.2.2.7", "Private(max_age=5)", "private, max-age=5"),
    ("9111 5.2.2.5", "NoStore()", "no-store"),
    (
        "9111 5.2.2.2",
        "Private(max_age=5, must_revalidate=True)",
        "private, max-age=5, must-revalidate",
    ),
    (
        "9111 5.2.2.8",
        "Public(max_age=5, proxy_revalidate=True)",
        "public, max-age=5, proxy-revalidate",
    ),
    (
        "5861 3",
        "Public(max_age=60, stale_while_revalidate=30)",
        "public, max-age=60, stale-while-revalidate=30",
    ),
    (
        "5861 4",
        "Public(max_age=60, stale_if_error=3600)",
        "public, max-age=60, stale-if-error=3600",
    ),
    (
        "8246 2",
        "Public(max_age=31536000, immutable=True)",
        "public, max-age=31536000, immutable",
    ),
]
"""Section, policy, and the `Cache-Control` that it is."""

TARGETED = [
    ("9213 3.1", "CdnControl(max_age=600)", "cdn-cache-control: max-age=600"),
    ("9213 2.1", "CdnControl(no_store=True)", "cdn-cache-control: no-store"),
    (
        "9213 2.1",
        "CdnControl(max_age=600, stale_if_error=60)",
        "cdn-cache-control: max-age=600, stale-if-error=60",
    ),
    (
        "9213 2.2",
        'CdnControl(max_age=9, name="Cloudflare-CDN-Cache-Control")',
        "cloudflare-cdn-cache-control: max-age=9",
    ),
]
"""Section, what a CDN is told, and the line that says it."""

PATHS = [
    ("3986 3.3", "/products/7", "Public"),
    ("3986 3.3", "/products/caf%C3%A9", "Public"),
    ("3986 3.3", "/products/a%20b", "Public"),
    ("3986 6.2.2.3", "/products/../account", "default"),
    ("3986 6.2.2.3", "/products/.", "default"),
    ("3986 6.2.2.2", "/products/%2e%2e", "default"),
    ("3986 6.2.2.2", "/products/%61", "default"),
    ("3986 2.2", "/products/a%2Fb", "default"),
    ("3986 2.2", "/products/a%5cb", "default"),
    ("3986 2.2", "/products/a%3Fb", "default"),
    ("3986 2.2", "/products/a%23b", "default"),
    ("3986 2.4", "/products/a%252fb", "default"),
    ("3986 3.3", "/products/a;b", "default"),
    ("3986 3.3", "/products/a%3bb", "default"),
    ("3986 3.3", "/products//7", "default"),
    ("3986 2.1", "/products/%", "default"),
    ("3986 2.1", "/products/%zz", "default"),
    ("3986 2.5", "/products/%FF", "default"),
    ("9110 4.2.3", "/products/a%00", "default"),
    ("9110 4.2.3", "/products/a%0d%0a", "default"),
    ("9110 4.2.3", "/products/\\7", "default"),
    ("9111 7", "/products/7/style.css", "default"),
    ("9111 7", "/products/7/", "default"),
    ("9111 7", "/Products/7", "default"),
    ("9111 7", "/account/x.css", "default"),
]
"""Section, the path as it was sent, and who may keep the answer, where `/products/{id}` is
`Public` and nothing else is declared."""

VARIANTS = [
    ("9111 4.1", "Accept: a, b", "Accept: a,b", "same"),
    ("9111 4.1", "Accept: a + Accept: b", "Accept: a, b", "same"),
    ("9111 4.1", "Accept:  a \t; q=1 ", "Accept: a ; q=1", "same"),
    ("9111 4.1", "accept: a", "ACCEPT: a", "same"),
    ("9111 4.1", "Accept: a + User-Agent: x", "Accept: a + User-Agent: y", "same"),
    ("9111 4.1", "Accept: a, b", "Accept: b, a", "other"),
    ("9111 4.1", "Accept: a", "Accept: A", "other"),
    ("9111 4.1", "Accept: ", "(none)", "other"),
    ("9111 4.1", 'Accept: "a,  b"', 'Accept: "a, b"', "other"),
    ("9111 4.1", "Accept: a + Accept-Language: b", "Accept: b + Accept-Language: a", "other"),
]
"""Section, one request's header, another's, and whether they are one variant of an answer that
varies by `Accept` and `Accept-Language`."""

STATUS = [
    ("9211 2.1", 'CacheHit(detail="l1")', "repocache; hit; detail=l1"),
    ("9211 2.4", 'CacheHit(ttl=37, detail="l2")', "repocache; hit; ttl=37; detail=l2"),
    ("9211 2.4", "CacheHit(ttl=-5)", "repocache; hit; ttl=-5"),
    ("9211 2.5", "WentOn(why=Why.URI_MISS, stored=True)", "repocache; fwd=uri-miss; stored"),
    ("9211 2.2", "WentOn(why=Why.STALE)", "repocache; fwd=stale"),
    ("9211 2.2", "WentOn(why=Why.BYPASS)", "repocache; fwd=bypass"),
    (
        "9211 2.3",
        "WentOn(why=Why.STALE, status=304)",
        "repocache; fwd=stale; fwd-status=304",
    ),
    (
        "9211 2.6",
        "WentOn(why=Why.MISS, collapsed=True)",
        "repocache; fwd=miss; collapsed",
    ),
    ("9211 2.8", 'CacheHit(detail="a b")', 'repocache; hit; detail="a b"'),
    ("8941 3.3.3", r"""CacheHit(detail='"\\')""", r'repocache; hit; detail="\"\\"'),
]
"""Section, what was done, and the member of `Cache-Status`."""
