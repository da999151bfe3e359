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
    _add_indexes_of_their_own()
    for name in ("pages_done", "chunks_done"):
        op.add_column("versions", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column("versions", sa.Column("due", sa.DateTime(timezone=True), nullable=True))
    op.add_column("versions", sa.Column("lost_in", sa.JSON(), nullable=False, server_default="[]"))
    op.execute("UPDATE versions SET due = created_at")
    op.drop_index("ix_versions_state_priority", table_name="versions")
    op.create_index("ix_versions_state_priority", "versions", ["state", "priority", "due"])
    op.add_column("documents", sa.Column("source_id", sa.String(length=32), nullable=True))
    op.create_index(op.f("ix_documents_source_id"), "documents", ["source_id"], unique=False)
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
        sa.Column("file", sa.String(length=1000), nullable=False),
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


def _add_indexes_of_their_own() -> None:
    """Chunks and changes belong to an index, which a reindex moves from one collection row to another."""
    op.add_column("collections", sa.Column("index_id", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("collections", sa.Column("parent_id", sa.String(length=32), nullable=True))
    op.add_column("collections", sa.Column("purpose", sa.String(length=10), nullable=False, server_default=""))
    op.execute("UPDATE collections SET index_id = id")
    op.create_index(op.f("ix_collections_index_id"), "collections", ["index_id"], unique=False)
    op.create_index(op.f("ix_collections_parent_id"), "collections", ["parent_id"], unique=False)
    op.drop_index(op.f("ix_chunks_collection_id"), table_name="chunks")
    op.execute("ALTER TABLE chunks RENAME COLUMN collection_id TO index_id")
    op.create_index(op.f("ix_chunks_index_id"), "chunks", ["index_id"], unique=False)
    with op.batch_alter_table("index_changes") as batch:
        batch.drop_constraint(op.f("fk_index_changes_collection_id_collections"), type_="foreignkey")
    op.execute("ALTER TABLE index_changes RENAME COLUMN collection_id TO index_id")
    op.create_table(
        "replaced_versions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["versions.id"], name=op.f("fk_replaced_versions_version_id_versions"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replaced_versions")),
    )
    op.create_index(op.f("ix_replaced_versions_version_id"), "replaced_versions", ["version_id"], unique=False)


def _remove_indexes_of_their_own() -> None:
    """Only what answers now survives: rows of indexes that were being built or kept go."""
    op.drop_table("replaced_versions")
    op.execute("DELETE FROM collections WHERE parent_id IS NOT NULL")
    for table in ("chunks", "index_changes"):
        op.execute(
            f"UPDATE {table} SET index_id = (SELECT id FROM collections WHERE collections.index_id = {table}.index_id) "
            "WHERE index_id IN (SELECT index_id FROM collections)"
        )
    op.execute("DELETE FROM index_changes WHERE index_id NOT IN (SELECT id FROM collections)")
    op.drop_index(op.f("ix_chunks_index_id"), table_name="chunks")
    for table in ("chunks", "index_changes"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN index_id TO collection_id")
    op.create_index(op.f("ix_chunks_collection_id"), "chunks", ["collection_id"], unique=False)
    with op.batch_alter_table("index_changes") as batch:
        batch.create_foreign_key(
            op.f("fk_index_changes_collection_id_collections"),
            "collections",
            ["collection_id"],
            ["id"],
            ondelete="CASCADE",
        )
    op.drop_index(op.f("ix_collections_parent_id"), table_name="collections")
    op.drop_index(op.f("ix_collections_index_id"), table_name="collections")
    for name in ("purpose", "parent_id", "index_id"):
        op.drop_column("collections", name)


def downgrade() -> None:
    """Remove them with everything in them."""
    _remove_indexes_of_their_own()
    for table in ("source_entries", "sources", "sketches"):
        op.drop_table(table)
    op.drop_index("ix_versions_state_priority", table_name="versions")
    op.create_index("ix_versions_state_priority", "versions", ["state", "priority", "created_at"])
    for name in ("lost_in", "due", "chunks_done", "pages_done"):
        op.drop_column("versions", name)
    op.drop_column("collections", "settings")
    op.drop_index(op.f("ix_documents_source_id"), table_name="documents")
    op.drop_column("documents", "source_id")
