"""The ingest report: what happened to a document on its way into a collection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core.types import BlockKind, HiddenText, NewChunk, ParsedDocument, Problem
from ingest.report_language import languages

HIDDEN_KINDS = ("white", "tiny", "off_page", "covered", "invisible", "zero_width", "tag")
"""Every kind of core.types.HiddenText, as texts name them."""
_UNREAD = frozenset({"unreadable_page"})
_PDF_DATE = re.compile(r"^D?:?(\d{4})(\d{2})?(\d{2})?(?:(\d{2})(\d{2}))?")
_ISO_DATE = re.compile(r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}))?")
_SAMPLE = 80


@dataclass(frozen=True, slots=True)
class Hidden:
    """Hidden text of one kind: characters in all, the pages it stands on (sorted; empty where there are none)."""

    kind: str
    characters: int
    pages: tuple[int, ...] = ()
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Near:
    """Another document with nearly the same text. similarity: estimated share of common shingles, 0–1."""

    path: str
    similarity: float


@dataclass(frozen=True, slots=True)
class IngestReport:
    """One version's report. Pages are 1-based; confidences and shares 0–1; times in seconds.

    pages: pages, slides or sheets of the file; pages_read: how many of them were read. characters: of text that went
    into chunks. left_out: characters beyond the limit. tokens: of all chunks, with the embedder's tokenizer.
    chunks_reused: of the older version, not embedded again.
    truncations: chunks longer than the embedder's window; the embedder refuses such a text, so a version that is
    ready has 0. languages: share of each. duplicates: paths of other documents with the same bytes.
    """

    pages: int = 0
    pages_read: int = 0
    ocr_pages: tuple[tuple[int, float], ...] = ()
    garbled_pages: tuple[int, ...] = ()
    blocks: int = 0
    tables: int = 0
    pictures: int = 0
    pictures_without_text: int = 0
    characters: int = 0
    left_out: int = 0
    chunks: int = 0
    chunks_reused: int = 0
    tokens: int = 0
    window: int = 0
    truncations: int = 0
    language: str = ""
    languages: Mapping[str, float] = field(default_factory=dict)
    hidden: tuple[Hidden, ...] = ()
    duplicates: tuple[str, ...] = ()
    near_duplicates: tuple[Near, ...] = ()
    title: str = ""
    author: str = ""
    created: str = ""
    modified: str = ""
    encoding: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[Problem, ...] = ()

    @property
    def ocr_confidence(self) -> float | None:
        """Mean over the pages read by OCR; None when there are none."""
        return sum(value for _, value in self.ocr_pages) / len(self.ocr_pages) if self.ocr_pages else None

    @property
    def worst_ocr_page(self) -> tuple[int, float] | None:
        """Page and confidence of the least certain page read by OCR."""
        return min(self.ocr_pages, key=lambda entry: (entry[1], entry[0]), default=None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form with every field, and mean and worst page of OCR beside its pages."""
        out = asdict(self)
        mean, worst = self.ocr_confidence, self.worst_ocr_page
        out["ocr"] = {
            "pages": len(self.ocr_pages),
            "confidence": None if mean is None else round(mean, 3),
            "worst_page": None if worst is None else {"page": worst[0], "confidence": worst[1]},
        }
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IngestReport:
        """Inverse of `to_dict`; fields that an older version did not write keep their defaults, others are ignored."""
        known = {one.name: data[one.name] for one in fields(cls) if one.name in data}
        read: dict[str, Callable[[Any], Any]] = {
            "ocr_pages": lambda rows: tuple((int(page), float(value)) for page, value in rows),
            "garbled_pages": tuple,
            "duplicates": tuple,
            "hidden": lambda rows: tuple(Hidden(**(row | {"pages": tuple(row["pages"])})) for row in rows),
            "near_duplicates": lambda rows: tuple(Near(**row) for row in rows),
            "warnings": lambda rows: tuple(Problem(**row) for row in rows),
            "languages": dict,
            "seconds": dict,
        }
        return cls(**{name: read[name](value) if name in read else value for name, value in known.items()})


def build_report(
    parsed: ParsedDocument,
    chunks: Sequence[NewChunk],
    window: int,
    *,
    max_pages: int,
    duplicates: Sequence[str] = (),
    near: Sequence[Near] = (),
    seconds: Mapping[str, float] | None = None,
) -> IngestReport:
    """The report of a parsed and chunked document.

    Args:
        window: most tokens that the embedder reads of one text, less its prefix.
        max_pages: of the settings; pages beyond it were not read.
        seconds: wall time of the stages so far.
    """
    reading = parsed.reading
    unread = {problem.page for problem in parsed.problems if problem.code in _UNREAD and problem.page}
    main, shares = languages(block.text for block in parsed.blocks)
    metadata = {key.lower(): value for key, value in parsed.metadata.items()}
    return IngestReport(
        pages=parsed.pages,
        pages_read=max(0, min(parsed.pages, max_pages) - len(unread)),
        ocr_pages=tuple((page, round(value, 3)) for page, value in reading.ocr_pages),
        garbled_pages=tuple(sorted(set(reading.garbled_pages))),
        blocks=len(parsed.blocks),
        tables=sum(1 for block in parsed.blocks if block.kind is BlockKind.TABLE),
        pictures=reading.pictures,
        pictures_without_text=reading.pictures_without_text,
        characters=sum(len(block.text) for block in parsed.blocks),
        left_out=reading.left_out,
        chunks=len(chunks),
        tokens=sum(chunk.n_tokens for chunk in chunks),
        window=window,
        truncations=sum(1 for chunk in chunks if chunk.n_tokens > window),
        language=main,
        languages=shares,
        hidden=by_kind(reading.hidden),
        duplicates=tuple(duplicates),
        near_duplicates=tuple(near),
        title=parsed.title,
        author=metadata.get("author", "")[:200],
        created=date_text(metadata.get("created") or metadata.get("creationdate") or metadata.get("date", "")),
        modified=date_text(metadata.get("modified") or metadata.get("moddate", "")),
        encoding=metadata.get("encoding", ""),
        seconds={stage: round(value, 3) for stage, value in _with_ocr(seconds or {}, reading.ocr_seconds).items()},
        warnings=parsed.problems,
    )


def _with_ocr(seconds: Mapping[str, float], ocr: float) -> dict[str, float]:
    """The time of recognition behind that of parsing, of which it is a part."""
    if not ocr:
        return dict(seconds)
    parse = {"parse": seconds["parse"]} if "parse" in seconds else {}
    return {**parse, "ocr": ocr, **seconds}


def by_kind(found: Iterable[HiddenText]) -> tuple[Hidden, ...]:
    """Hidden text put together by kind, in the order of HIDDEN_KINDS; the sample is the longest one's beginning."""
    groups: dict[str, list[HiddenText]] = {}
    for one in found:
        groups.setdefault(one.kind, []).append(one)
    known = [kind for kind in HIDDEN_KINDS if kind in groups] + sorted(set(groups) - set(HIDDEN_KINDS))
    return tuple(
        Hidden(
            kind,
            sum(one.characters for one in groups[kind]),
            tuple(sorted({one.page for one in groups[kind] if one.page})),
            max(groups[kind], key=lambda one: one.characters).sample[:_SAMPLE],
        )
        for kind in known
    )


def date_text(raw: str) -> str:
    """`2024-05-01` or `2024-05-01 09:30` of a PDF date or an ISO date; anything else as it stands, 40 characters."""
    raw = raw.strip()
    if match := _ISO_DATE.match(raw):
        return " ".join(part for part in match.groups() if part)
    match = _PDF_DATE.match(raw)
    if not match:
        return raw[:40]
    year, month, day, hour, minute = match.groups()
    date = "-".join(part for part in (year, month, day if month else None) if part)
    return f"{date} {hour}:{minute}" if day and hour else date
