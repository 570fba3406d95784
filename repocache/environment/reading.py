"""A process's environment, read: which servers, and how the database behaves. Pure: it is given the
variables, opens nothing, and needs no event loop.

No error shows what may be a password, one that stands in the wrong variable neither: of URLs what
their own parsers show, of all else no text.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, NamedTuple, Self

from sqlalchemy import URL

from repocache.engines.database_url import database_url
from repocache.engines.engine import Purpose, make_engine
from repocache.engines.topology_settings import Replica, TopologySettings
from repocache.environment.variables import ADDRESSES, VARIABLES, number
from repocache.errors import ConfigurationError
from repocache.nodes.topology import named
from repocache.redis_link import Address
from repocache.settings import Settings

PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]*_")
OF_THE_KIT = "REPOCACHE_TEST_"
"""Variables of `repocache.testing`, beside which the default prefix has to work."""
REPLICAS = (
    "give URLs with whitespace between them, each followed by words of its own if need be, as in "
    "postgresql://app@db2/shop weight=2 name=near; in a password write a space as %20"
)


@dataclass(frozen=True, slots=True)
class Environment:
    """What variables say, with `settings` as they are where no variable says otherwise."""

    primary: URL = field(repr=False)
    replicas: tuple[Replica, ...]
    redis: Address | None
    settings: Settings

    @classmethod
    def read(
        cls, prefix: str, environ: Mapping[str, str], settings: Settings | None = None
    ) -> Self:
        """`prefix`: what all its variables begin with, and no others, as "SHOP_". `settings`: what
        the program says itself.

        Raises ConfigurationError, which names the variable: for one that is missing, empty, wrong
        or unknown, and for a setting that `settings` gives too.
        """
        if not PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                "from_env: the prefix has to be letters, digits and underscores and to end with an "
                "underscore, as in from_env('SHOP_')"
            )
        settings = Settings() if settings is None else settings
        if not isinstance(settings, Settings):
            raise ConfigurationError(
                f"from_env(settings={type(settings).__name__}): give Settings(...)"
            )
        texts = _texts(prefix, environ)
        primary, replicas, redis = (prefix + each for each in ADDRESSES)
        if primary not in texts:
            raise ConfigurationError(
                f"{primary} is missing: give the primary's URL, as in postgresql://app@db1/shop"
            )
        return cls(
            primary=_database(primary, texts[primary]),
            replicas=_replicas(replicas, texts[replicas]) if replicas in texts else (),
            redis=_redis(redis, texts[redis]) if redis in texts else None,
            settings=_changed(settings, _told(prefix, texts, settings)),
        )


class _Told(NamedTuple):
    """`variable`: its whole name. `path`: of the setting, from the value that is changed."""

    variable: str
    path: str
    value: Any


def _texts(prefix: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of this prefix, all of them known and none empty."""
    known = sorted(prefix + each for each in (*ADDRESSES, *(each.name for each in VARIABLES)))
    found = {}
    for name in sorted(environ):
        if not name.startswith(prefix) or name.startswith(OF_THE_KIT):
            continue
        if name not in known:
            [nearest] = get_close_matches(name.upper(), known, n=1, cutoff=0)
            raise ConfigurationError(
                f"{name} is not known; the nearest is {nearest}. If it is another program's, give "
                "from_env a prefix of its own; docs/settings.md has all variables"
            )
        found[name] = environ[name].strip()
        if not found[name]:
            raise ConfigurationError(f"{name} is empty: give a value, or leave the variable out")
    return found


def _told(prefix: str, texts: Mapping[str, str], settings: Settings) -> list[_Told]:
    """Raises ConfigurationError for what `settings` say too: that which is not as it is by
    itself."""
    found, usual = [], Settings()
    for each in VARIABLES:
        name = prefix + each.name
        if name not in texts:
            continue
        setting = operator.attrgetter(each.setting)
        if setting(settings) != setting(usual):
            raise ConfigurationError(
                f"{name} and Settings.{each.setting} both say it: leave one of them out"
            )
        found.append(_Told(name, each.setting, _value(name, each.read, texts[name])))
    return found


def _value(name: str, read: Any, text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        why = str(error)
    raise ConfigurationError(f"{name}: {why}")


def _changed(value: Any, told: Sequence[_Told]) -> Any:
    """A copy with these settings, those of the values in it too."""
    changes = {each.path: each.value for each in told if "." not in each.path}
    inner: dict[str, list[_Told]] = {}
    for each in told:
        part, _, path = each.path.partition(".")
        if path:
            inner.setdefault(part, []).append(each._replace(path=path))
    changes |= {part: _changed(getattr(value, part), several) for part, several in inner.items()}
    try:
        return replace(value, **changes)
    except ConfigurationError as error:  # its words quote texts
        why = str(error)
    raise ConfigurationError(_explained(why, told))


def _explained(why: str, told: Sequence[_Told]) -> str:
    """The variables whose settings are spoken of, and what is said, without their texts."""
    for each in told:
        texts = each.value if isinstance(each.value, tuple) else (each.value,)
        for text in texts:
            why = why.replace(repr(text), "...") if isinstance(text, str) else why
    spoken = set(re.findall(r"\w+", why))
    names = [each.variable for each in told if each.path.rpartition(".")[2] in spoken]
    return f"{', '.join(names or [each.variable for each in told])}: {why}"


def _database(name: str, text: str) -> URL:
    url = database_url(name, text)
    try:
        make_engine(
            url, Purpose.PROBE, TopologySettings()
        )  # opens nothing: whether it has a driver
    except ConfigurationError as error:
        why = str(error)
    else:
        return url
    raise ConfigurationError(f"{name}: {why}")


def _replicas(name: str, text: str) -> tuple[Replica, ...]:
    found: list[Replica] = []
    for word in text.split():
        option, _, said = word.partition("=")
        if word.count("://") == 1 and not word.endswith(","):
            found.append(Replica(_database(name, word)))
        elif found and option == "weight" and said:
            weight = _value(f"{name}: weight", number, said)
            if not weight:
                raise ConfigurationError(f"{name}: a weight is more than 0")
            found[-1] = replace(found[-1], weight=weight)
        elif found and option == "name" and said:
            found[-1] = replace(found[-1], name=said)
        else:
            raise ConfigurationError(f"{name}: {REPLICAS}")
    try:
        return tuple(named(found))
    except ConfigurationError:  # its words are for those who write Replica(...)
        pass
    raise ConfigurationError(
        f"{name}: two replicas have one host and port or one name, or one is called primary; give "
        "each a name of its own by the word name=... after its URL"
    )


def _redis(name: str, text: str) -> Address:
    try:
        return Address.parse(text)
    except ConfigurationError as error:
        why = str(error).removeprefix("redis: ")
    raise ConfigurationError(f"{name}: {why}")
