"""How answers are generated, per collection and per conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_PARENTS = (("collection", "collections"), ("conversation", "conversations"))


def upgrade() -> None:
    """Add the tables."""
    for name, parent in _PARENTS:
        table, key = f"{name}_answer_settings", f"{name}_id"
        op.create_table(
            table,
            sa.Column(key, sa.String(length=32), nullable=False),
            sa.Column("settings", sa.JSON(), nullable=False),
            sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
            sa.ForeignKeyConstraint(
                [key], [f"{parent}.id"], name=op.f(f"fk_{table}_{key}_{parent}"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        )


def downgrade() -> None:
    """Remove the tables."""
    for name, _ in _PARENTS:
        op.drop_table(f"{name}_answer_settings")
