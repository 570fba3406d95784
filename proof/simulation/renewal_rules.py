"""The rules of renewals and of what is not changed, none of which is looked for in the simulation;
see `rules`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_SCRIPTS = "it stands in a script, and nothing replaces that piece of the simulated Redis yet"
_UNSOUGHT = (
    "the world of renewals found neither of two rules of renewals in some 10 seeds of 500 "
    "operations, and no longer search was made"
)
_COMPUTED = "computed values are not simulated"

RENEWALS_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "renewal's own lease": _SCRIPTS,
        "renewal's nonce": _SCRIPTS,
        "taken along": _SCRIPTS,
        "renewal's floor": _UNSOUGHT,
        "floor of the lease": _UNSOUGHT,
        "in place": "no source says that what is kept has not changed",
        "not the writer": _UNSOUGHT,
        "as long": _UNSOUGHT,
        **dict.fromkeys(("kept tokens", "both", "what it reads", "read tokens first"), _COMPUTED),
    }
)
"""As `rules.ELSEWHERE`."""
