# Varnish 7.1 or later, with vmod_xkey (package varnish-modules), for `repocache.edges.varnish`.
# Copy it, and change what is above the line.

vcl 4.1;

import std;
import xkey;

backend default {
    .host = "127.0.0.1";
    .port = "8000";
}

# From where pages may be purged.
acl purgers {
    "127.0.0.1";
    "::1";
}

sub settings {
    # A file of one line, at least 16 characters, the same as Varnish(secret=...). It is read once.
    set req.http.edge-secret = regsub(std.fileread("/etc/varnish/repocache.secret"), "\s+$", "");
}

sub cookies {
    # Requests with cookies are passed, unless their cookies are removed here: on pages, and only on
    # those, that are the same for everybody.
    # if (req.url ~ "^/public/") { unset req.http.Cookie; }
}

# ------------------------------------------------------------------------------------------------

sub vcl_recv {
    # Names of this file: no client's.
    unset req.http.edge-status;
    unset req.http.edge-proved;
    call settings;
    if (client.ip ~ purgers && req.http.edge-secret ~ "^.{16}" &&
        req.http.xkey-secret == req.http.edge-secret) {
        set req.http.edge-proved = "1";
    }
    unset req.http.edge-secret;
    unset req.http.xkey-secret;

    if (req.method == "PURGE") {
        if (!req.http.edge-proved) {
            return (synth(403, "Forbidden"));
        }
        if (req.http.xkey-purge) {
            set req.http.edge-gone = xkey.purge(req.http.xkey-purge);
            return (synth(200, "Purged " + req.http.edge-gone));
        }
        if (req.http.xkey-softpurge) {
            set req.http.edge-gone = xkey.softpurge(req.http.xkey-softpurge);
            return (synth(200, "Stale " + req.http.edge-gone));
        }
        return (synth(400, "Neither xkey-purge nor xkey-softpurge"));
    }

    # A session that has written, who is known, and who asks for what is fresh.
    if (req.http.Bookmark || req.http.Authorization ||
        req.http.Cookie ~ "(^|;\s*)repocache-fresh=") {
        return (pass);
    }
    call cookies;
    # Varnish's own vcl_recv follows: it passes what is no GET or HEAD, and what has cookies.
}

sub vcl_hit {
    if (obj.ttl >= 0s) {
        set req.http.edge-status = "hit";
    } else {
        set req.http.edge-status = "hit; detail=stale";
    }
}

sub vcl_miss {
    set req.http.edge-status = "fwd=miss";
}

sub vcl_pass {
    set req.http.edge-status = "fwd=bypass";
}

sub vcl_backend_fetch {
    unset bereq.http.edge-proved;
}

sub vcl_backend_response {
    # A page that is fetched in the background and fails leaves the stale one where it is.
    if (beresp.status >= 500 && bereq.is_bgfetch) {
        return (abandon);
    }

    # One header governs: CDN-Cache-Control (RFC 9213, 2.2), else Surrogate-Control, else
    # Cache-Control, of which Varnish has taken the lifetime already.
    if (beresp.http.CDN-Cache-Control) {
        set beresp.http.edge-governs = beresp.http.CDN-Cache-Control;
    } else if (beresp.http.Surrogate-Control) {
        set beresp.http.edge-governs = beresp.http.Surrogate-Control;
    }
    if (beresp.http.edge-governs) {
        set beresp.ttl = 0s;
        if (beresp.http.edge-governs ~ "(^|[,\s])max-age=\d+") {
            set beresp.ttl = std.duration(
                regsub(beresp.http.edge-governs, "^(?:.*[,\s])?max-age=(\d+).*$", "\1s"), 0s);
        }
        if (beresp.http.edge-governs ~ "(^|[,\s])s-maxage=\d+") {
            set beresp.ttl = std.duration(
                regsub(beresp.http.edge-governs, "^(?:.*[,\s])?s-maxage=(\d+).*$", "\1s"), 0s);
        }
        # Its time in caches before this one counts.
        if (beresp.ttl > 0s && beresp.http.Age ~ "^\d+$") {
            set beresp.ttl = beresp.ttl - std.duration(beresp.http.Age + "s", 0s);
        }
    } else {
        set beresp.http.edge-governs = beresp.http.Cache-Control;
    }

    set beresp.grace = 0s;
    if (beresp.http.edge-governs ~ "(^|[,\s])stale-while-revalidate=\d+") {
        set beresp.grace = std.duration(regsub(beresp.http.edge-governs,
            "^(?:.*[,\s])?stale-while-revalidate=(\d+).*$", "\1s"), 0s);
    }

    if (beresp.http.Set-Cookie || beresp.status >= 500 || beresp.http.Vary == "*" ||
        beresp.http.edge-governs ~ "(?i)(^|[,\s])(private|no-store|no-cache)($|[,\s=])" ||
        beresp.ttl <= 0s) {
        # For two minutes such requests do not wait for one another.
        set beresp.uncacheable = true;
        set beresp.ttl = 120s;
        set beresp.grace = 0s;
    }
    unset beresp.http.edge-governs;
    unset beresp.http.Surrogate-Control;
    return (deliver);
}

sub vcl_deliver {
    # The tags are between the service and its edges; `xkey-secret` with a request shows them.
    if (!req.http.edge-proved) {
        unset resp.http.xkey;
        unset resp.http.Cache-Groups;
        unset resp.http.Surrogate-Key;
        unset resp.http.Cache-Tag;
    }
    # RFC 9211: who is nearer to the client comes later.
    if (resp.http.Cache-Status) {
        set resp.http.Cache-Status = resp.http.Cache-Status + ", varnish; " + req.http.edge-status;
    } else {
        set resp.http.Cache-Status = "varnish; " + req.http.edge-status;
    }
}
