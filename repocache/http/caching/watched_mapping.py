"""A dict that tells what is read of it: what `WatchedScope` and `WatchedPart` have in common."""

from __future__ import annotations

from typing import Any, Self, SupportsIndex


class WatchedMapping(dict[str, Any]):
    """Each read that this class can see calls `_seek` with its key, or `_seek_all`; what is written
    is read by nobody. What they tell is each kind's own; its own methods, which are not told of,
    call `dict`'s."""

    def _seek(self, key: object) -> None:
        """Before this key is read, whether it is there or not."""
        raise NotImplementedError

    def _seek_all(self) -> None:
        """Before all of it is read."""
        raise NotImplementedError

    def __getitem__(self, key: str) -> Any:
        self._seek(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._seek(key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self._seek(key)
        return super().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key in self:
            return super().__getitem__(key)
        self[key] = default
        return default

    def pop(self, key: str, *default: Any) -> Any:
        self._seek(key)
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        self._seek_all()
        return super().popitem()

    def items(self) -> Any:
        self._seek_all()
        return super().items()

    def values(self) -> Any:
        self._seek_all()
        return super().values()

    def update(self, *others: Any, **more: Any) -> None:
        for key, value in dict(*others, **more).items():
            self[key] = value

    def __ior__(self, other: Any) -> Self:  # type: ignore[override,misc]
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        self._seek_all()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        self._seek_all()
        return super().__repr__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[type[dict[str, Any]], Any]:
        """What is copied deeply is watched no longer: all of it counts as read."""
        return dict, ({str.__str__(key): value for key, value in self.items()},)
