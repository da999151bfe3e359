"""Writes down what the parser found: report, sketch for near-duplicates and number of chunks, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.types import NewChunk, ParsedDocument
from ingest.near_duplicates import sketch
from ingest.report import IngestReport, Near, build_report
from storage.documents import ClaimedVersion, DocumentStore
from storage.versions import StoredVersion


def describe(
    documents: DocumentStore,
    worker: str,
    claimed: ClaimedVersion,
    parsed: ParsedDocument,
    chunks: Sequence[NewChunk],
    *,
    window: int,
    max_pages: int,
    seconds: Mapping[str, float],
    reused: int = 0,
) -> IngestReport:
    """Build the report of a version that this worker holds and keep it; its chunks are to be embedded from now on.

    Args:
        reused: chunks whose embedding is known already. The others are as for `build_report`.

    Raises:
        LeaseLostError: another worker took the version over, or it was deleted.
    """
    bands = sketch(block.text for block in parsed.blocks)
    same, near = _others(documents, claimed.collection_id, claimed.document_id, claimed.content_hash, bands)
    report = build_report(
        parsed,
        chunks,
        window,
        max_pages=max_pages,
        duplicates=same,
        near=near,
        seconds=seconds,
    )
    documents.describe(
        claimed.version_id,
        worker,
        media_type=parsed.media_type,
        title=parsed.title,
        pages=parsed.pages,
        problems=parsed.problems,
        facts={key: value for key, value in report.to_dict().items() if key != "warnings"},
        sketch=bands,
        expected=(len(chunks), reused),
    )
    return report


def current_report(documents: DocumentStore, version: StoredVersion) -> IngestReport:
    """The stored report of a version, with the duplicates that are there now instead of those of its day."""
    bands = documents.sketch_of(version.id)
    same, near = _others(documents, version.collection_id, version.document_id, version.content_hash, bands)
    return IngestReport.from_dict(
        {
            **version.facts,
            "duplicates": same,
            "near_duplicates": [{"path": one.path, "similarity": one.similarity} for one in near],
            "warnings": [problem.to_dict() for problem in version.problems],
        }
    )


def _others(
    documents: DocumentStore, collection_id: str, document_id: str, content_hash: str, bands: Sequence[int]
) -> tuple[list[str], list[Near]]:
    """Documents with the same bytes, and those with nearly the same text that are not among them."""
    same = documents.same_bytes(collection_id, document_id, content_hash)
    found = documents.near_duplicates(collection_id, document_id, bands)
    return same, [Near(other.path, other.similarity) for other in found if other.path not in same]
