"""How large the chunks of a collection are: its own settings, the rules for them, and their mark in the fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from core.errors import FingerprintMismatchError, InputError
from core.settings import IngestSettings
from core.types import Collection
from ingest import chunk_context
from ingest.chunk import CHUNKER_VERSION
from models.protocols import Embedder

TOKENS, OVERLAP = "chunk_tokens", "chunk_overlap"


def reserved_tokens(embedder: Embedder) -> int:
    """Tokens that the document prefix takes from the window."""
    if not embedder.document_prefix:
        return 0
    return embedder.tokenizer.count(embedder.document_prefix) - embedder.tokenizer.count("") + 1


def largest_chunk(embedder: Embedder) -> int:
    """Tokens that a chunk's text may have, so that its heading line and the special tokens fit the window too."""
    window = embedder.max_tokens - embedder.tokenizer.count("") - reserved_tokens(embedder)
    return window - chunk_context.limit(window)


def choose(
    embedder: Embedder, instance: IngestSettings, tokens: int | None = None, overlap: int | None = None
) -> dict[str, int]:
    """The chunk settings of a collection as they are kept. What is not given follows the instance's, as far as it fits.

    Raises:
        InputError: a rule of IngestSettings is broken, or the embedder's window has no room for `tokens`.
    """
    largest = largest_chunk(embedder)
    if tokens is not None and tokens > largest:
        raise InputError(
            f"Cannot make chunks of {tokens} tokens: {embedder.id!r} reads {embedder.max_tokens} tokens at once, which "
            f"leaves {largest} tokens beside the heading line.",
            f"Choose {largest} tokens or fewer, or an embedder with a wider window.",
        )
    wanted = tokens if tokens is not None else max(32, min(instance.chunk_tokens, largest))
    between = overlap if overlap is not None else min(instance.chunk_overlap, wanted // 2)
    try:
        checked = IngestSettings(chunk_tokens=wanted, chunk_overlap=between)
    except ValidationError as error:
        raise InputError(
            f"Cannot make chunks of {wanted} tokens with {between} tokens of overlap: the size is at least 32 tokens, "
            "the overlap from 0 to half of it.",
            "Choose other --chunk-tokens or --chunk-overlap.",
        ) from error
    return {TOKENS: checked.chunk_tokens, OVERLAP: checked.chunk_overlap}


def chunker_version(settings: Mapping[str, Any]) -> str:
    """The fingerprint's mark of a collection with these settings: the plain version when it has none of its own."""
    if TOKENS not in settings:
        return CHUNKER_VERSION
    return f"{CHUNKER_VERSION}:{settings[TOKENS]}:{settings[OVERLAP]}"


def settings_for(collection: Collection, instance: IngestSettings) -> IngestSettings:
    """The instance's settings with what the collection has of its own."""
    own = {name: int(collection.settings[name]) for name in (TOKENS, OVERLAP) if name in collection.settings}
    return instance.model_copy(update=own)


def require_same_chunker(collection: Collection) -> None:
    """Check that chunks made now may stand beside those that are there.

    Raises:
        FingerprintMismatchError: they were cut by another version of the chunker, or with other settings.
    """
    have, now = collection.fingerprint.chunker_version, chunker_version(collection.settings)
    if have != now:
        raise FingerprintMismatchError(
            f"Cannot add to the collection {collection.name!r}: its chunks were made by chunker {have!r}, this program "
            f"has {now!r}.",
            f"Make its index anew, while it goes on answering: alioth collection reindex {collection.name!r}",
        )
