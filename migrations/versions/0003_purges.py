"""What edges have still to purge

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op

import repocache.alembic_ops

__all__ = ["repocache"]

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_repocache_purges()


def downgrade() -> None:
    op.drop_repocache_purges()
