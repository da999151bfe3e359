"""Sources, sketches, progress in pages and chunks, settings per collection."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and tables."""
    op.add_column("collections", sa.Column("settings", sa.JSON(), nullable=False, server_default="{}"))
    for name in ("pages_done", "chunks_done"):
        op.add_column("versions", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "sketches",
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("band", sa.Integer(), nullable=False),
        sa.Column("collection_id", sa.String(length=32), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_sketches_version_id_versions"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("version_id", "band", name=op.f("pk_sketches")),
    )
    op.create_index("ix_sketches_collection_id_band_value", "sketches", ["collection_id", "band", "value"])
    op.create_table(
        "sources",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("collection_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("place", sa.String(length=1000), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("synced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_sources_collection_id_collections"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("collection_id", "kind", "place", name=op.f("uq_sources_collection_id")),
    )
    op.create_index(op.f("ix_sources_collection_id"), "sources", ["collection_id"], unique=False)
    op.create_table(
        "source_entries",
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("path", sa.String(length=1000), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_source_entries_source_id_sources"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source_id", "path", name=op.f("pk_source_entries")),
    )
    op.create_index(op.f("ix_source_entries_document_id"), "source_entries", ["document_id"], unique=False)


def downgrade() -> None:
    """Remove them with everything in them."""
    for table in ("source_entries", "sources", "sketches"):
        op.drop_table(table)
    for name in ("pages_done", "chunks_done"):
        op.drop_column("versions", name)
    op.drop_column("collections", "settings")
