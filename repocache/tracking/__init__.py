"""Changed rows to owners to keys: what a transaction on the primary touches, for each savepoint."""

from repocache.tracking.declared import reached
from repocache.tracking.listener import Tracker
from repocache.tracking.owners import Owned
from repocache.tracking.statements import writes
from repocache.tracking.tables import OwnedTables
from repocache.transactions.changes import MOST_KEYS, Changes

__all__ = ["MOST_KEYS", "Changes", "Owned", "OwnedTables", "Tracker", "reached", "writes"]
