"""The outbox

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from alembic import op

import repocache.alembic_ops

__all__ = ["repocache"]

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_repocache_outbox()


def downgrade() -> None:
    op.drop_repocache_outbox()
