"""Observers of a database: metrics, traces, and what is hot. Each is given to
`Settings(observe=...)`, several by `Observers([...])`.

What needs a library is an extra and a module of its own: `repocache.observers.prometheus`,
`repocache.observers.opentelemetry`.
"""

from repocache.observers.catalogue import CATALOGUE, Kind, Metric
from repocache.observers.figures import LiveFigures
from repocache.observers.hot_keys import HotKey, HotKeys

__all__ = ["CATALOGUE", "HotKey", "HotKeys", "Kind", "LiveFigures", "Metric"]
