"""Write-behind: how far streams are written, and the dead letters

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

import repocache.alembic_ops

__all__ = ["repocache"]

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_repocache_write_behind()


def downgrade() -> None:
    op.drop_repocache_write_behind()
