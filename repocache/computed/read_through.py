"""What users write: `class Prices(ReadThrough[PriceKey, Price])`, or `@read_through(...)` on one
function. Computed values, cached until a row is written that they were computed from.

Owns the declaration and the few methods. How a value is found is `values`'.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, ParamSpec, Protocol, TypeVar, get_type_hints

import msgspec

from repocache.cache.policies import CacheAside, Policy
from repocache.computed.reader import Reader
from repocache.errors import ConfigurationError, NotFound, UsageError
from repocache.keys import KeyOwner, shown

K = TypeVar("K")
V = TypeVar("V")
P = ParamSpec("P")

MOST_TOGETHER = 512


class ReadValues(Protocol[K, V]):
    """What a `ReadThrough` of a running database reads by."""

    async def values(self, keys: Sequence[K]) -> dict[K, V]:
        """Those that there are, in the order asked."""
        ...


class _Nobody:
    """A loader that asks its own class for values would wait for itself."""

    async def values(self, keys: Sequence[Any]) -> dict[Any, Any]:
        raise UsageError("load() computes values: it reads by its reader, not by `self.get`")


class ReadThrough(Generic[K, V]):
    """Values `V` that `load` computes of keys `K`, cached. Declare `owner`; get one from
    `db[Prices]`.

    A key is all that a value depends on besides what `load` reads through its reader: no tenant,
    flag or user of the caller can be reached there. Values are shared by all callers, and frozen.
    `together`: how many keys `load` is given at most in one call; what it reads there invalidates
    the values of all of these keys.

    Reads raise InvalidId for a key of another type, DatabaseUnavailable if no node can answer, and
    what `load` raises; never an error of the cache.
    """

    owner: ClassVar[KeyOwner]
    policy: ClassVar[Policy] = CacheAside()
    together: ClassVar[int] = 16

    def __init__(self, found: ReadValues[K, V] | None = None) -> None:
        if found is None:
            name = type(self).__name__
            raise UsageError(f"{name}() belongs to a database: use db[{name}]")
        self._found = found

    @classmethod
    def uncalled(cls) -> ReadThrough[K, V]:
        """Its loader alone: it reads nothing by itself."""
        return cls(_Nobody())

    async def load(self, keys: Sequence[K], reader: Reader) -> Mapping[K, V]:
        """The values of these keys; those that have none are left out. To be written by the
        class."""
        raise NotImplementedError

    async def refresh(self, kept: Mapping[K, V], reader: Reader) -> Mapping[K, V]:
        """Asked of values that are past their `ttl`, or about to be, and that nothing has
        invalidated. It gives those that are still right as they are, and new ones of others; what
        it leaves out is loaded. What it reads they depend on from now on, besides what they were
        computed of. May be written by a class whose policy has a `freshness`."""
        return {}

    @classmethod
    def refreshes(cls) -> bool:
        """Whether it has a `refresh` of its own."""
        return cls.refresh is not ReadThrough.refresh

    async def get(self, key: K) -> V | None:
        """The value, or None if the key has none."""
        return (await self._found.values((key,))).get(key)

    async def get_many(self, keys: Sequence[K]) -> dict[K, V]:
        """The values that there are, in the order asked."""
        if isinstance(keys, str | bytes):
            raise UsageError(f"get_many({shown(keys)}): give a list of keys")
        return await self._found.values(list(dict.fromkeys(keys)))

    async def require(self, key: K) -> V:
        """The value. Raises NotFound."""
        found = await self.get(key)
        if found is None:
            raise NotFound(f"{type(self).__name__}: {shown(key)} has no value")
        return found


class ReadFunction(ReadThrough[Any, V], Generic[P, V]):
    """A `ReadThrough` of one function, whose arguments are the key: `await db[rates]("EUR")`."""

    function: ClassVar[Callable[..., Awaitable[Any]]]
    key_type: ClassVar[type[msgspec.Struct]]

    async def load(self, keys: Sequence[Any], reader: Reader) -> Mapping[Any, V]:
        found: dict[Any, V] = {}
        for key in keys:
            value = await type(self).function(*msgspec.structs.astuple(key), reader=reader)
            if value is not None:
                found[key] = value
        return found

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> V | None:
        """The value of these arguments. Raises TypeError as the function itself would, and
        InvalidId for an argument of another type."""
        given = _signature(type(self).function).bind(*args, **kwargs)
        given.apply_defaults()
        return await self.get(type(self).key_type(*given.arguments.values()))


def read_through(
    *,
    owner: KeyOwner,
    policy: Policy = CacheAside(),  # noqa: B008 - frozen
) -> Callable[[Callable[..., Awaitable[V | None]]], type[ReadFunction[..., V]]]:
    """`@read_through(owner=KeyOwner("rate"))` over `async def rate(currency: str, *, reader:
    Reader) -> Rate | None`: name it among `Database(repositories=[...])`, and call it as
    `await db[rate]("EUR")`.

    All arguments but `reader` are the key, each with its type. None: there is no value. Raises
    ConfigurationError for another function.
    """

    def declare(
        function: Callable[..., Awaitable[V | None]],
    ) -> type[ReadFunction[..., V]]:
        name = getattr(function, "__name__", repr(function))
        if not inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"@read_through on {name}: give an `async def`")
        hints = get_type_hints(function)
        parameters = inspect.signature(function).parameters
        if "reader" not in parameters or parameters["reader"].kind is not _KEYWORD_ONLY:
            raise ConfigurationError(
                f"@read_through on {name}: it reads by its reader, as in `async def {name}(key: "
                "int, *, reader: Reader)`"
            )
        fields: list[tuple[str, Any]] = []
        for each in parameters.values():
            if each.name == "reader":
                continue
            if each.kind is not _POSITIONAL or each.name not in hints:
                raise ConfigurationError(
                    f"@read_through on {name}: its argument {each.name!r} is part of the key: give "
                    "it a type, and no other kind than a plain argument"
                )
            fields.append((each.name, hints[each.name]))
        if "return" not in hints:
            raise ConfigurationError(f"@read_through on {name}: say the type of what it gives")
        key = msgspec.defstruct(f"{name}_key", fields, frozen=True)
        declared = {
            "__module__": function.__module__,
            "__doc__": function.__doc__ or f"Of the function {name}.",
            "owner": owner,
            "policy": policy,
            "together": 1,
            "function": staticmethod(function),
            "key_type": key,
            "types": (key, hints["return"]),
        }
        return type(name, (ReadFunction,), declared)

    return declare


_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.name != "reader"]
    return signature.replace(parameters=own)
