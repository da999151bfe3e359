"""Parsed documents and errors as JSON, between a parser child and its parent."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from core.errors import DOCUMENT_ERRORS, AliothError, ConflictError, DocumentError, InputError, StorageError
from core.types import Block, BlockKind, HiddenText, Locator, ParsedDocument, Problem, Reading


def document_to_dict(parsed: ParsedDocument) -> dict[str, Any]:
    """JSON form of a parsed document."""
    return {
        "blocks": [
            [block.kind.value, block.text, block.level, block.header, block.locator.to_dict()]
            for block in parsed.blocks
        ],
        "media_type": parsed.media_type,
        "title": parsed.title,
        "pages": parsed.pages,
        "problems": [problem.to_dict() for problem in parsed.problems],
        "metadata": dict(parsed.metadata),
        "reading": asdict(parsed.reading),
    }


def document_from_dict(data: dict[str, Any]) -> ParsedDocument:
    """Inverse of `document_to_dict`."""
    return ParsedDocument(
        blocks=tuple(
            Block(BlockKind(kind), text, Locator.from_dict(place), level, header)
            for kind, text, level, header, place in data["blocks"]
        ),
        media_type=data["media_type"],
        title=data["title"],
        pages=data["pages"],
        problems=tuple(Problem(**problem) for problem in data["problems"]),
        metadata=data["metadata"],
        reading=_reading(data["reading"]),
    )


def _reading(data: dict[str, Any]) -> Reading:
    return Reading(
        ocr_pages=tuple((int(page), float(confidence)) for page, confidence in data["ocr_pages"]),
        garbled_pages=tuple(data["garbled_pages"]),
        pictures=data["pictures"],
        pictures_without_text=data["pictures_without_text"],
        hidden=tuple(HiddenText(**hidden) for hidden in data["hidden"]),
        left_out=data["left_out"],
        ocr_seconds=data["ocr_seconds"],
    )


def error_to_dict(error: DocumentError) -> dict[str, Any]:
    """JSON form of a document error."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "page": error.page}


def error_from_dict(data: dict[str, Any]) -> DocumentError:
    """Inverse of `error_to_dict`."""
    return DOCUMENT_ERRORS.get(data["code"], DocumentError)(data["message"], data["hint"], data["page"])


def any_error_to_dict(error: AliothError) -> dict[str, Any]:
    """JSON form of what an archive's member was refused with."""
    if isinstance(error, DocumentError):
        return error_to_dict(error)
    return {"code": error.code, "message": error.message, "hint": error.hint, "page": None}


def any_error_from_dict(data: dict[str, Any]) -> AliothError:
    """Inverse of `any_error_to_dict`."""
    for kind in (InputError, ConflictError, StorageError):
        if data["code"] == kind.code:
            return kind(str(data["message"]), str(data["hint"]))
    return error_from_dict(data)
