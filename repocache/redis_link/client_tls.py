"""The TLS of a client of redis-py's, as a `Tls`."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from repocache.errors import ConfigurationError
from repocache.redis_link.address import Tls

TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname", "ssl_cert_reqs")
TLS_DETAILS = (
    *("ssl_ca_path", "ssl_ca_data", "ssl_password", "ssl_min_version", "ssl_ciphers"),
    *("ssl_include_verify_flags", "ssl_exclude_verify_flags"),
)
"""What a `Tls` says by a context alone."""


def tls_of(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> Tls:
    """`options`: that the client was given; `defaults`: the library's for those it was not.

    Raises ConfigurationError, which shows no password, for what cannot be taken over.
    """
    if options.get("ssl_cert_reqs", "required") in (None, "none", ssl.CERT_NONE):
        raise ConfigurationError(
            "redis: the client's ssl_cert_reqs cannot be taken over: the server's certificate is "
            "always verified here; give the authority that signed it by ssl_ca_certs, and "
            "ssl_check_hostname=False if it names another host"
        )
    given = options.get("ssl_check_hostname")
    checks = bool(defaults.get("ssl_check_hostname", True) if given is None else given)
    ca_certs, certfile, keyfile = (options.get(name) or "" for name in TLS_FILES[:3])
    if keyfile and not certfile:
        raise ConfigurationError("redis: the client's ssl_keyfile is of use with ssl_certfile only")
    plain = Tls(str(ca_certs), str(certfile), str(keyfile), checks)
    if not any(options.get(name) for name in TLS_DETAILS):
        return plain
    try:
        return Tls(check_hostname=checks, own=_context(options, plain))
    except (OSError, TypeError, ValueError) as error:  # words about what may hold a password
        why = type(error).__name__
    raise ConfigurationError(
        f"redis: the client's ssl options make no context ({why}); check its files, ssl_password, "
        "ssl_ca_data and ssl_ciphers"
    )


def _context(options: Mapping[str, Any], plain: Tls) -> ssl.SSLContext:
    """What a client makes of these options. Raises OSError, TypeError, ValueError."""
    context = ssl.create_default_context(
        cafile=plain.ca_certs or None,
        capath=options.get("ssl_ca_path"),
        cadata=options.get("ssl_ca_data"),
    )
    context.check_hostname = plain.check_hostname
    if plain.certfile:
        password = options.get("ssl_password")
        context.load_cert_chain(plain.certfile, plain.keyfile or None, password)
    if options.get("ssl_min_version"):
        context.minimum_version = options["ssl_min_version"]
    if options.get("ssl_ciphers"):
        context.set_ciphers(options["ssl_ciphers"])
    for flag in options.get("ssl_include_verify_flags") or ():
        context.verify_flags |= flag
    for flag in options.get("ssl_exclude_verify_flags") or ():
        context.verify_flags &= ~flag
    return context
