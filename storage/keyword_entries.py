"""What stands in a keyword index: one entry per chunk, and the position in the changes that it has come to."""

from __future__ import annotations

import functools
from typing import Any, Final

from core.text import segment
from storage.changes import Applied, KeywordRow

_MARK: Final = "applied"


def schema() -> Any:
    """The fields of an index: a chunk's id, version and words, and the mark of how far it has come."""
    import tantivy

    return (
        tantivy.SchemaBuilder()
        .add_unsigned_field("id", indexed=True, fast=True)
        .add_text_field("version", tokenizer_name="raw", index_option="basic")
        .add_text_field("body", tokenizer_name="whitespace", index_option="freq")
        .add_text_field("path", tokenizer_name="whitespace", index_option="freq")
        .add_text_field("mark", tokenizer_name="raw", index_option="basic")
        .add_text_field("position", stored=True, tokenizer_name="raw", index_option="basic")
        .build()
    )


def entry(row: KeywordRow) -> Any:
    """A chunk as tantivy takes it."""
    import tantivy

    document = tantivy.Document()
    document.add_unsigned("id", row.id)
    document.add_text("version", row.version_id)
    # one field: BM25 rewards a title word that the text has too once, not twice (docs/decisions/0008-fusion.md)
    document.add_text("body", f"{segmented(row.title)} {segmented(row.context)} {row.tokens}")
    document.add_text("path", segmented(row.path))
    return document


@functools.lru_cache(maxsize=4096)
def segmented(text: str) -> str:
    """Search tokens separated by blanks, as the index takes them."""
    return " ".join(segment(text))


def mark(writer: Any, applied: Applied) -> None:
    """Keep the position in a document of its own: tantivy commits carry no payload."""
    import tantivy

    writer.delete_documents_by_term("mark", _MARK)
    document = tantivy.Document()
    document.add_text("mark", _MARK)
    document.add_text("position", applied.to_text())
    writer.add_document(document)


def marked(searcher: Any, schema: Any) -> Applied | None:
    """The position that was kept; None in an index without one."""
    import tantivy

    found = searcher.search(tantivy.Query.term_query(schema, "mark", _MARK, index_option="basic"), limit=1).hits
    return Applied.from_text(searcher.doc(found[0][1])["position"][0]) if found else None
