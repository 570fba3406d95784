"""Alembic operations for the outbox, its triggers, write-behind and purges: `import
repocache.alembic_ops` in a migration or in `env.py`.

`op.create_repocache_outbox()`, `op.create_invalidation_trigger("users")`,
`op.create_repocache_write_behind()`, `op.create_repocache_purges()` and their drops; `declare` lets
autogenerate find what is missing. Importing registers them with Alembic, which has no other way.
"""

# First of all: it says what is missing.
from repocache.alembic_ops.alembic_version import (
    NEEDED as NEEDED,
)
from repocache.alembic_ops.autogenerate import declare
from repocache.alembic_ops.operations import (
    CreateInvalidationTrigger,
    CreateOutbox,
    CreatePurges,
    CreateWriteBehind,
    DropInvalidationTrigger,
    DropOutbox,
    DropPurges,
    DropWriteBehind,
)

__all__ = [
    "CreateInvalidationTrigger",
    "CreateOutbox",
    "CreatePurges",
    "CreateWriteBehind",
    "DropInvalidationTrigger",
    "DropOutbox",
    "DropPurges",
    "DropWriteBehind",
    "declare",
]
