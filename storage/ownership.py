"""Whose a document is: a source's, or a person's. A sync never takes over or deletes what a person put there."""

from __future__ import annotations

from core.errors import ConflictError
from storage.tables import DocumentTable, VersionTable


def settle_owner(
    document: DocumentTable, newest: VersionTable | None, content_hash: str, source: str | None, adopt: bool
) -> None:
    """Decide whose `document` is when `source` (a person when None) submits bytes for it.

    A person always becomes the owner. A source becomes it where nothing is yet, or with `adopt`; the same bytes as
    somebody else's change nothing.

    Args:
        newest: its newest version that is not deleted.

    Raises:
        ConflictError: the source brings other bytes than somebody else's document has.
    """
    if source is None or newest is None or adopt:
        document.source_id = source
    elif document.source_id != source and newest.content_hash != content_hash:
        raise _not_yours(document, "replace")


def require_owner(document: DocumentTable, source: str | None) -> None:
    """Let a person (None) do anything, a source only what is done to its own documents.

    Raises:
        ConflictError: the document is somebody else's.
    """
    if source is not None and document.source_id != source:
        raise _not_yours(document, "delete")


def _not_yours(document: DocumentTable, verb: str) -> ConflictError:
    whose = "belongs to another source" if document.source_id else "was added by hand"
    return ConflictError(
        f"This sync may not {verb} {document.path!r}: the document {whose}.",
        "Give the source a --prefix, delete the document, or take it over with --adopt.",
    )
