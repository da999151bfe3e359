"""Every SQL table. The only truth: both indexes are derived from `chunks` and `documents`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

BigId = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC; SQLite keeps no zone, so it is put back on load."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[Any] = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        bytes: LargeBinary,
    }


# ------------------------------------------------------------------ people


class UserTable(Table):
    __tablename__ = "users"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    name_folded: Mapped[str] = mapped_column(String(200), unique=True)
    password_hash: Mapped[str] = mapped_column(String(300))
    is_admin: Mapped[bool] = mapped_column(Boolean, default=False)
    language: Mapped[str] = mapped_column(String(8), default="")
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    failed_sign_ins: Mapped[int] = mapped_column(Integer, default=0)
    locked_until: Mapped[datetime | None]


class SignInTable(Table):
    """One browser that is signed in. Only the hash of the cookie's value is kept."""

    __tablename__ = "sign_ins"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


class SetupLinkTable(Table):
    """One-time links: create the administrator (user_id empty) or set a new password."""

    __tablename__ = "setup_links"
    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class GroupTable(Table):
    __tablename__ = "groups"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    name_folded: Mapped[str] = mapped_column(String(200), unique=True)


class GroupMemberTable(Table):
    __tablename__ = "group_members"
    group_id: Mapped[str] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)


class GrantTable(Table):
    """principal_kind: `user`, `group` or `everyone` (principal_id empty). role: read, write or manage."""

    __tablename__ = "grants"
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    principal_kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    principal_id: Mapped[str] = mapped_column(String(32), primary_key=True, default="")
    role: Mapped[str] = mapped_column(String(10))


class AuditTable(Table):
    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str] = mapped_column(String(500), default="")
    detail: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


# ------------------------------------------------------------------ documents


class CollectionTable(Table):
    """fingerprint: JSON of core.types.Fingerprint. changes: number of the newest row in index_changes.

    settings: what it has of its own instead of the instance's ingest settings, e.g. chunk_tokens.
    index_id: names the index in Chroma, among the keyword replicas and in `chunks`. Fingerprint, settings, index_id
    and changes are one index; a reindex exchanges them with those of a hidden row.
    parent_id, purpose: of a hidden row only: the collection it belongs to, and building, previous or returning (see
    storage/reindex.py). No foreign key: who deletes a collection deletes its hidden rows by hand.
    """

    __tablename__ = "collections"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    name_folded: Mapped[str] = mapped_column(String(200), unique=True)
    fingerprint: Mapped[dict[str, Any]] = mapped_column(JSON)
    changes: Mapped[int] = mapped_column(BigInteger, default=0)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict, server_default="{}")
    index_id: Mapped[str] = mapped_column(String(32), default="", server_default="", index=True)
    parent_id: Mapped[str | None] = mapped_column(String(32), index=True)
    purpose: Mapped[str] = mapped_column(String(10), default="", server_default="")
    created_at: Mapped[datetime]


class DocumentTable(Table):
    """Identity is (collection, path). A deleted document keeps its row with deleted_at until it is purged.

    source_id: the source whose document it is; only its sync may replace or delete it. Empty: added by hand.
    """

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("collection_id", "path"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    path: Mapped[str] = mapped_column(String(1000))
    live_version_id: Mapped[str | None] = mapped_column(String(32), index=True)
    newest: Mapped[int] = mapped_column(Integer, default=0)
    source_id: Mapped[str | None] = mapped_column(String(32), index=True)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class VersionTable(Table):
    """One document at one content hash, and the job that makes it searchable.

    due: decides the order within one priority; when it was queued, later for a large file. lost_in: the stage of each
    attempt whose worker ended or fell silent.
    """

    __tablename__ = "versions"
    __table_args__ = (
        UniqueConstraint("document_id", "number"),
        Index("ix_versions_state_priority", "state", "priority", "due"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("documents.id", ondelete="CASCADE"), index=True)
    collection_id: Mapped[str] = mapped_column(String(32), index=True)
    number: Mapped[int] = mapped_column(Integer)
    content_hash: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(120), default="")
    state: Mapped[str] = mapped_column(String(12))
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    priority: Mapped[int] = mapped_column(Integer, default=0)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(64))
    lease_until: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    problems: Mapped[list[Any]] = mapped_column(JSON, default=list)
    title: Mapped[str] = mapped_column(Text, default="")
    pages: Mapped[int] = mapped_column(Integer, default=0)
    chunk_count: Mapped[int] = mapped_column(Integer, default=0)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    pages_done: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    chunks_done: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    due: Mapped[datetime | None]
    lost_in: Mapped[list[Any]] = mapped_column(JSON, default=list, server_default="[]")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SketchTable(Table):
    """MinHash of a version's text in bands, to find near-duplicates: two versions that share a band are compared."""

    __tablename__ = "sketches"
    __table_args__ = (Index("ix_sketches_collection_id_band_value", "collection_id", "band", "value"),)
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), primary_key=True)
    band: Mapped[int] = mapped_column(Integer, primary_key=True)
    collection_id: Mapped[str] = mapped_column(String(32))
    value: Mapped[int] = mapped_column(BigInteger)


class SourceTable(Table):
    """A place documents come from again and again. kind: `folder`. place: its address, e.g. an absolute path.

    options: ignore patterns, prefix. result: counts of the last run.
    """

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("collection_id", "kind", "place"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    place: Mapped[str] = mapped_column(String(1000))
    options: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    synced_at: Mapped[datetime | None]
    result: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class WatchTable(Table):
    """A source that workers keep in step by themselves. worker, lease_until: who does now.

    poll_s: look so often instead of listening. trouble: what keeps it from being followed; empty when nothing does.
    """

    __tablename__ = "watches"
    source_id: Mapped[str] = mapped_column(ForeignKey("sources.id", ondelete="CASCADE"), primary_key=True)
    poll_s: Mapped[float | None] = mapped_column(Float)
    since: Mapped[datetime]
    worker: Mapped[str | None] = mapped_column(String(100))
    lease_until: Mapped[datetime | None]
    trouble: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class ArchiveTable(Table):
    """What came last of one archive, so that the same bytes need not be unpacked again. key: hash of collection,
    source and logical path. limits: fingerprint of what decided which members were taken.
    """

    __tablename__ = "archives"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    content_hash: Mapped[str] = mapped_column(String(64))
    limits: Mapped[str] = mapped_column(String(64))
    contents: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]


class SourceEntryTable(Table):
    """A document that a file of a source became; an archive becomes several.

    file: the logical path of the file; path: of the document. content_hash, size, modified_ns: of the file when it
    was read, to skip unchanged ones.
    """

    __tablename__ = "source_entries"
    source_id: Mapped[str] = mapped_column(ForeignKey("sources.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(String(1000), primary_key=True)
    file: Mapped[str] = mapped_column(String(1000))
    document_id: Mapped[str] = mapped_column(String(32), index=True)
    content_hash: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    modified_ns: Mapped[int] = mapped_column(BigInteger)


class ChunkTable(Table):
    """Text, place, search tokens (blank-separated) and embedding (float16 bytes). Ids are never used twice.

    index_id: the index (collections.index_id) they are part of; it stays when a reindex moves that to another row.
    """

    __tablename__ = "chunks"
    __table_args__ = (
        UniqueConstraint("version_id", "ordinal"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"))
    index_id: Mapped[str] = mapped_column(String(32), index=True)
    ordinal: Mapped[int] = mapped_column(Integer)
    context: Mapped[str] = mapped_column(Text, default="")
    text: Mapped[str] = mapped_column(Text)
    tokens: Mapped[str] = mapped_column(Text)
    locator: Mapped[dict[str, Any]] = mapped_column(JSON)
    n_tokens: Mapped[int] = mapped_column(Integer)
    embedding: Mapped[bytes] = mapped_column(LargeBinary)


class IndexChangeTable(Table):
    """What keyword replicas must apply, in order. Its number is taken under the collection's row lock."""

    __tablename__ = "index_changes"
    index_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))  # "add" or "remove"
    version_id: Mapped[str] = mapped_column(String(32))


class GlossaryTermTable(Table):
    """A term of a collection's glossary. folded: as it is compared. others: further words for it."""

    __tablename__ = "glossary_terms"
    __table_args__ = (UniqueConstraint("collection_id", "folded"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    term: Mapped[str] = mapped_column(String(200))
    folded: Mapped[str] = mapped_column(String(200))
    others: Mapped[list[Any]] = mapped_column(JSON, default=list)
    both_ways: Mapped[bool] = mapped_column(Boolean, default=True)
    note: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


class DroppedCollectionTable(Table):
    """Chroma collections whose collection row is gone and that must still be removed from Chroma."""

    __tablename__ = "dropped_collections"
    vector_key: Mapped[str] = mapped_column(String(120), primary_key=True)
    at: Mapped[datetime]


class ReplacedVersionTable(Table):
    """Version ids as citations of old answers hold them, and the version of the same bytes that took their place."""

    __tablename__ = "replaced_versions"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("versions.id", ondelete="CASCADE"), index=True)


class FileBlobTable(Table):
    """Original files by content hash, when the database is the file store (PostgreSQL)."""

    __tablename__ = "file_blobs"
    content_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[bytes] = mapped_column(LargeBinary)


# ------------------------------------------------------------------ conversations


class ConversationTable(Table):
    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(32), index=True)
    title: Mapped[str] = mapped_column(String(300), default="")
    collection_ids: Mapped[list[Any]] = mapped_column(JSON, default=list)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CollectionAnswerTable(Table):
    """How answers from a collection are generated: JSON of core.answer_settings.AnswerSettings."""

    __tablename__ = "collection_answer_settings"
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    updated_at: Mapped[datetime]


class ConversationAnswerTable(Table):
    """How answers in a conversation are generated: JSON of core.answer_settings.AnswerSettings."""

    __tablename__ = "conversation_answer_settings"
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON)
    updated_at: Mapped[datetime]


class MessageTable(Table):
    """state: streaming, complete, stopped or failed. answer: the parts of core.types.Answer beside the text.

    error: why it failed, as code, message and hint.
    lease_until: while streaming, until when the process that writes it has said that it lives.
    """

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("conversation_id", "ordinal"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    ordinal: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(10))
    text: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(10), default="complete")
    answer: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    error: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]


class CitationTable(Table):
    __tablename__ = "citations"
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(Integer, primary_key=True)
    chunk_id: Mapped[int] = mapped_column(BigInteger)
    document_id: Mapped[str] = mapped_column(String(32), index=True)
    version_id: Mapped[str] = mapped_column(String(32))
    collection_id: Mapped[str] = mapped_column(String(32))
    document: Mapped[str] = mapped_column(String(1000))
    title: Mapped[str] = mapped_column(Text, default="")
    locator: Mapped[dict[str, Any]] = mapped_column(JSON)
    quote: Mapped[str] = mapped_column(Text)
    origin: Mapped[str] = mapped_column(String(10))


class FeedbackTable(Table):
    """rating: 1 or -1."""

    __tablename__ = "feedback"
    message_id: Mapped[str] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    rating: Mapped[int] = mapped_column(Integer)
    reason: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime]


# ------------------------------------------------------------------ quality


class QuestionSetTable(Table):
    """Questions by which one collection is measured. They tell what its documents hold, so they go when it goes."""

    __tablename__ = "question_sets"
    __table_args__ = (UniqueConstraint("collection_id", "name_folded"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    name_folded: Mapped[str] = mapped_column(String(200))
    created_by: Mapped[str] = mapped_column(String(200), default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SetQuestionTable(Table):
    """data: the other fields of a question in the sets' format. origin: written, imported, generated or feedback."""

    __tablename__ = "set_questions"
    __table_args__ = (UniqueConstraint("set_id", "qid"),)
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    set_id: Mapped[str] = mapped_column(ForeignKey("question_sets.id", ondelete="CASCADE"), index=True)
    ordinal: Mapped[int] = mapped_column(Integer)
    qid: Mapped[str] = mapped_column(String(200))
    question: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    origin: Mapped[str] = mapped_column(String(12), default="written")
    note: Mapped[str] = mapped_column(Text, default="")


class EvalRunTable(Table):
    """One measurement. collection_id: empty for one over files, which only its maker and administrators see.

    state: queued, running, done, failed or cancelled. settings: how it was asked for; facts: the code, models and
    collection it measured; report: the figures.
    """

    __tablename__ = "eval_runs"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    collection_id: Mapped[str | None] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    set_name: Mapped[str] = mapped_column(String(1000))
    name: Mapped[str] = mapped_column(String(200), index=True)
    kind: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(10), index=True)
    settings: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    report: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(32), default="")
    worker: Mapped[str] = mapped_column(String(100), default="")
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class EvalRowTable(Table):
    """A question as it was when the run was asked for, and what came of it; result is empty until then."""

    __tablename__ = "eval_rows"
    run_id: Mapped[str] = mapped_column(ForeignKey("eval_runs.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(Integer, primary_key=True)
    qid: Mapped[str] = mapped_column(String(200))
    asked: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)
