"""The rules of renewals and of what is not changed in the simulation: two are found there, and why
the others are not; see `rules`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SCRIPTS = "it stands in a script, and nothing replaces that piece of the simulated Redis yet"
_NOT_MET = "not met in 120 seeds of 700 operations of the world of renewals"
_NOT_SHORT = (
    "bookmarks live a minute in the world of renewals, and what is kept aside two seconds: not met "
    "in 120 seeds of 700 operations of it, nor in 60 of one with bookmarks that live less"
)
_COMPUTED = "computed values are not simulated"

RENEWALS_FOUND: Mapping[str, tuple[str, int]] = MappingProxyType(
    {"renewal's floor": ("renewals", 31), "not the writer": ("renewals", 93)}
)
"""As `rules.FOUND`."""
RENEWALS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "renewal's own lease": _SCRIPTS,
        "renewal's nonce": _SCRIPTS,
        "taken along": _SCRIPTS,
        "floor of the lease": _NOT_MET,
        "in place": "no source says that what is kept has not changed",
        "as long": _NOT_SHORT,
        **dict.fromkeys(("kept tokens", "both", "what it reads", "read tokens first"), _COMPUTED),
    }
)
"""As `rules.ELSEWHERE`."""
