"""Bytes and texts that tell when somebody looks at them. They are what they were, to all that
takes them as bytes or text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, SupportsIndex, TypeAlias

ANY = "*"
"""Somebody looked in a way that any header could have answered."""
ASKERS = ("user", "auth", "session", "client")
"""Keys of a scope that say who asks."""
Note: TypeAlias = Callable[[str], None]
"""Is told a header's name, in lower case, `scope:` and a key, or `ANY`."""
_WHOLE = (
    "__add__", "__bytes__", "__contains__", "__format__", "__ge__", "__getitem__", "__gt__",
    "__iter__", "__le__", "__len__", "__lt__", "__mod__", "__mul__", "__repr__", "__rmod__",
    "__rmul__", "__str__",
)  # fmt: skip
"""Python finds these on the type, and asks no `__getattribute__`."""


def _telling(*names: str) -> Callable[[type[Any]], type[Any]]:
    """A class decorator: before each of these, `_tell` is called."""

    def made(kind: type[Any]) -> type[Any]:
        for name in names:
            plain = getattr(kind.__mro__[1], name, None)
            if plain is not None:
                setattr(kind, name, _told(name, plain))
        return kind

    return made


def _nobody(name: str) -> None:
    """Is told by what somebody else made, as `type(value)(b"...")`."""


def _told(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        object.__getattribute__(self, "_tell")()
        return plain(self, *args)

    method.__name__ = name
    return method


@_telling(*_WHOLE, "__eq__", "__ne__", "__hash__")
class NotingValue(bytes):
    """A header's value. Whatever is done with it is told, under the header's name."""

    _name = ""
    _note: Note = staticmethod(_nobody)

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":  # `isinstance` asks for it, and has read nothing
            object.__getattribute__(self, "_tell")()
        return super().__getattribute__(name)

    def __radd__(self, other: bytes) -> bytes:
        object.__getattribute__(self, "_tell")()
        return other + bytes.__getitem__(self, slice(None))

    def __int__(self) -> int:
        object.__getattribute__(self, "_tell")()
        return int(bytes.__getitem__(self, slice(None)))

    def __float__(self) -> float:
        object.__getattribute__(self, "_tell")()
        return float(bytes.__getitem__(self, slice(None)))

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[bytes], tuple[bytes]]:
        object.__getattribute__(self, "_tell")()
        return bytes, (bytes.__getitem__(self, slice(None)),)

    def _tell(self) -> None:
        object.__getattribute__(self, "_note")(object.__getattribute__(self, "_name"))


@_telling(*_WHOLE)
class NotingName(bytes):
    """A header's name. What it is compared with is told: that is the header which was sought.

    In lower case, and decoded, it tells still. All else that is done with it, to be put into a set
    or a dict among it, is told as `ANY`: what it is compared with then is not seen.
    """

    _note: Note = staticmethod(_nobody)
    _kept = frozenset({"lower", "decode"})

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return super().__getattribute__(name)
        if name not in NotingName._kept:
            object.__getattribute__(self, "_tell")()
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bytes | bytearray) and not isinstance(other, NotingName):
            object.__getattribute__(self, "_note")(bytes(other).decode("latin-1").lower())
        return bytes.__eq__(self, other)

    def __hash__(self) -> int:
        object.__getattribute__(self, "_tell")()
        return bytes.__hash__(self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __radd__(self, other: bytes) -> bytes:
        object.__getattribute__(self, "_tell")()
        return other + bytes.__getitem__(self, slice(None))

    def lower(self) -> NotingName:
        return noting_name(bytes.lower(self), object.__getattribute__(self, "_note"))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> NotingText:
        text = bytes.decode(self, encoding, errors)
        return noting_text(text, object.__getattribute__(self, "_note"))

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[bytes], tuple[bytes]]:
        object.__getattribute__(self, "_tell")()
        return bytes, (bytes.__getitem__(self, slice(None)),)

    def _tell(self) -> None:
        object.__getattribute__(self, "_note")(ANY)


@_telling(*_WHOLE)
class NotingText(str):  # noqa: SLOT000  # a slot could have no default
    """A header's name that was decoded; see `NotingName`."""

    _note: Note = staticmethod(_nobody)
    _kept = frozenset({"lower", "casefold", "encode"})

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return super().__getattribute__(name)
        if name not in NotingText._kept:
            object.__getattribute__(self, "_tell")()
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str) and not isinstance(other, NotingText):
            object.__getattribute__(self, "_note")(str(other).lower())
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        object.__getattribute__(self, "_tell")()
        return str.__hash__(self)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def lower(self) -> NotingText:
        return noting_text(str.lower(self), object.__getattribute__(self, "_note"))

    def casefold(self) -> NotingText:
        return noting_text(str.casefold(self), object.__getattribute__(self, "_note"))

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> NotingName:
        text = str.encode(self, encoding, errors)
        return noting_name(text, object.__getattribute__(self, "_note"))

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[str], tuple[str]]:
        object.__getattribute__(self, "_tell")()
        return str, (str.__str__(self),)

    def _tell(self) -> None:
        object.__getattribute__(self, "_note")(ANY)


class NotingKey(str):  # noqa: SLOT000  # as NotingText
    """A key of a scope, in the scope itself and in each plain copy of it. What it is compared with
    is the key itself, if their hashes are the same: so whoever seeks it is told."""

    _note: Note = staticmethod(_nobody)
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        equal = str.__eq__(self, other)
        if equal is True and not isinstance(other, NotingKey):
            self._note("scope:" + str.__str__(self))
        return equal

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[str], tuple[str]]:
        self._note("scope:" + str.__str__(self))
        return str, (str.__str__(self),)


def noting_value(value: bytes, name: str, note: Note) -> NotingValue:
    """A header's value; `name`: its header's, in lower case."""
    made = NotingValue(value)
    object.__setattr__(made, "_name", name)
    object.__setattr__(made, "_note", note)
    return made


def noting_name(name: bytes, note: Note) -> NotingName:
    """A header's name."""
    made = NotingName(name)
    object.__setattr__(made, "_note", note)
    return made


def noting_text(text: str, note: Note) -> NotingText:
    """A header's name, decoded."""
    made = NotingText(text)
    object.__setattr__(made, "_note", note)
    return made


def noting_key(key: str, note: Note) -> NotingKey:
    """A key of a scope."""
    made = NotingKey(key)
    object.__setattr__(made, "_note", note)
    return made
