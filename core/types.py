"""Domain types that cross package borders. Plain frozen dataclasses, no behaviour that does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is acting now. `SYSTEM` is the command line on the server itself."""

    user_id: str
    name: str
    is_admin: bool = False
    is_system: bool = False


SYSTEM = Principal(user_id="system", name="system", is_admin=True, is_system=True)


class Role(StrEnum):
    """What a grant allows on one collection; each includes the ones before it."""

    READ = "read"
    WRITE = "write"
    MANAGE = "manage"

    @property
    def rank(self) -> int:
        return {"read": 1, "write": 2, "manage": 3}[self.value]


# ------------------------------------------------------------------ documents


class BlockKind(StrEnum):
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST = "list"
    TABLE = "table"
    CODE = "code"
    CAPTION = "caption"
    PICTURE = "picture"


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on a page, in points from the top left corner of the page as displayed."""

    page: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Locator:
    """Where in a document something stands. Every field that does not apply is empty.

    page, slide: 1-based. lines: first and last, 1-based. cells: `A2:D9`.
    chars: start and end offset in the text that the parser gave for the whole document.
    ocr: mean confidence, 0–1, of text that was recognised in a picture; None for text that the file holds as text.
    """

    page: int | None = None
    page_end: int | None = None
    boxes: tuple[Box, ...] = ()
    heading: tuple[str, ...] = ()
    slide: int | None = None
    sheet: str | None = None
    cells: str | None = None
    lines: tuple[int, int] | None = None
    chars: tuple[int, int] | None = None
    ocr: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form with the empty fields left out."""
        out: dict[str, Any] = {}
        for name in ("page", "page_end", "slide", "sheet", "cells", "ocr"):
            value = getattr(self, name)
            if value is not None:
                out[name] = value
        if self.heading:
            out["heading"] = list(self.heading)
        if self.lines:
            out["lines"] = list(self.lines)
        if self.chars:
            out["chars"] = list(self.chars)
        if self.boxes:
            out["boxes"] = [[b.page, b.x0, b.y0, b.x1, b.y1] for b in self.boxes]
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Locator:
        """Inverse of `to_dict`."""
        return cls(
            page=data.get("page"),
            page_end=data.get("page_end"),
            slide=data.get("slide"),
            sheet=data.get("sheet"),
            cells=data.get("cells"),
            heading=tuple(data.get("heading", ())),
            lines=_pair(data.get("lines")),
            chars=_pair(data.get("chars")),
            ocr=data.get("ocr"),
            boxes=tuple(Box(int(b[0]), *(float(v) for v in b[1:5])) for b in data.get("boxes", ())),
        )


def _pair(value: Any) -> tuple[int, int] | None:
    return None if value is None else (int(value[0]), int(value[1]))


@dataclass(frozen=True, slots=True)
class Block:
    """One parsed unit in reading order.

    text: plain text; a table is rows of `cell | cell` lines. header: for a table the header rows in the same
    form, repeated in every chunk of it (not part of `text`). level: 1–6 for headings, else 0.
    """

    kind: BlockKind
    text: str
    locator: Locator = Locator()
    level: int = 0
    header: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should know about how a document was read. `code` is stable, `message` English."""

    code: str
    message: str
    page: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "page": self.page}


@dataclass(frozen=True, slots=True)
class HiddenText:
    """Text that a person who looks at the document does not see; it is left out of the blocks.

    kind: white, tiny, off_page, covered, invisible (by the format's own switch), zero_width or tag. characters: how
    many. sample: its first 80 characters, for a person to judge.
    """

    kind: str
    characters: int
    sample: str = ""
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What a parser met on its way, for the ingest report. Pages are 1-based.

    ocr_pages: page and mean confidence (0–1) of each page of which text was recognised. garbled_pages: pages whose
    text layer is no text, whether OCR replaced it or not. pictures: all of them; pictures_without_text: those of
    which nothing was read. left_out: characters cut off at the limit. ocr_seconds: time that recognition took.
    """

    ocr_pages: tuple[tuple[int, float], ...] = ()
    garbled_pages: tuple[int, ...] = ()
    pictures: int = 0
    pictures_without_text: int = 0
    hidden: tuple[HiddenText, ...] = ()
    left_out: int = 0
    ocr_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser gives. `pages`: pages, slides or sheets; 1 where the format has none."""

    blocks: tuple[Block, ...]
    media_type: str
    title: str = ""
    pages: int = 1
    problems: tuple[Problem, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    reading: Reading = Reading()


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk before it has an id.

    context: heading path line put before `text` for the embedder, may be empty. n_tokens: tokens of
    `context + "\\n" + text` with the embedder's tokenizer, special tokens included; never over its window.
    """

    ordinal: int
    text: str
    locator: Locator
    context: str = ""
    n_tokens: int = 0

    @property
    def embedded_text(self) -> str:
        """Exactly what the embedder reads."""
        return f"{self.context}\n{self.text}" if self.context else self.text


class DocumentState(StrEnum):
    """Life of one version. The last three are final; a superseded version reads as `deleted`."""

    QUEUED = "queued"
    PARSING = "parsing"
    CHUNKING = "chunking"
    EMBEDDING = "embedding"
    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


FINAL_STATES = frozenset({DocumentState.READY, DocumentState.FAILED, DocumentState.DELETED})


class Priority(IntEnum):
    """What is read in first: an upload that a person waits for, then a few files, then whole folders."""

    BULK = 0
    FILES = 10
    UPLOAD = 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What decides whether two embeddings may stand in one index."""

    embedder_id: str
    weights_sha256: str
    dimension: int
    normalised: bool
    prefix: str
    chunker_version: str

    @property
    def key(self) -> str:
        """Short stable text of all fields."""
        import hashlib

        raw = "|".join(
            str(v)
            for v in (
                self.embedder_id,
                self.weights_sha256,
                self.dimension,
                self.normalised,
                self.prefix,
                self.chunker_version,
            )
        )
        return hashlib.sha256(raw.encode()).hexdigest()[:16]

    @property
    def space(self) -> tuple[str, str, int, bool, str]:
        """What makes vectors comparable: everything but how the text was cut."""
        return (self.embedder_id, self.weights_sha256, self.dimension, self.normalised, self.prefix)


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents under one set of grants and one index fingerprint.

    settings: what it has of its own instead of the instance's ingest settings, e.g. chunk_tokens.
    index_id: names the index that answers for it; a reindex changes it, the collection's id stays.
    """

    id: str
    name: str
    fingerprint: Fingerprint
    created_at: datetime
    documents: int = 0
    chunks: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    index_id: str = ""

    def __post_init__(self) -> None:
        if not self.index_id:
            object.__setattr__(self, "index_id", self.id)

    @property
    def vector_key(self) -> str:
        """Name of its index in Chroma: one per index and fingerprint."""
        return f"c-{self.index_id}-{self.fingerprint.key}"


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """One document as lists show it: the version that answers now, and the one under way or failed, if any.

    state: of the newest version. version: number of the newest version, from 1. live_version_id: None until
    one version was ready. n_pages/n_chunks: of the newest version (0 until known).
    progress: 0.0–1.0 within the whole job. pages_done, chunks_done: read and embedded so far. attempts: times it was
    begun; lost_in: the stage of each attempt whose worker ended. error: of a queued one, why it waits.
    """

    id: str
    collection_id: str
    path: str
    state: DocumentState
    version: int
    version_id: str
    live_version_id: str | None
    media_type: str
    size: int
    pages: int
    chunks: int
    title: str
    progress: float
    problems: tuple[Problem, ...]
    error: Mapping[str, str] | None
    created_at: datetime
    updated_at: datetime
    pages_done: int = 0
    chunks_done: int = 0
    attempts: int = 0
    lost_in: tuple[str, ...] = ()


# ------------------------------------------------------------------ retrieval and answers


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk of a live version, as SQL gives it."""

    id: int
    collection_id: str
    document_id: str
    version_id: str
    ordinal: int
    path: str
    title: str
    context: str
    text: str
    locator: Locator
    tokens: str = field(default="", compare=False, repr=False)
    """Search words of `text`, blank-separated, as SQL keeps them; empty where a chunk is made without."""


@dataclass(frozen=True, slots=True)
class ScoredChunk:
    """Chunk and score, higher is better. `stages`: raw figure of each stage that saw it, e.g. dense, keyword."""

    chunk: StoredChunk
    score: float
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GlossaryTerm:
    """A word of a collection and other words for it: synonyms, short forms, translations.

    A question with the term looks for the others too; both_ways: one with any of the others for all the rest as well.
    """

    term: str
    others: tuple[str, ...]
    both_ways: bool = True
    note: str = ""
    collection_id: str = ""


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """One earlier message of a conversation. role: `user` or `assistant`."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Passage:
    """What stands in the prompt under number `n` (from 1). `text` may be wider than the chunk (neighbours)."""

    n: int
    chunk: StoredChunk
    text: str


class Verdict(StrEnum):
    SUPPORTED = "supported"
    UNSUPPORTED = "unsupported"
    UNCITED = "uncited"


@dataclass(frozen=True, slots=True)
class SentenceCheck:
    """One sentence of an answer and what the check of it found. start/end: offsets in the answer's text."""

    sentence: str
    verdict: Verdict
    reason: str
    start: int = 0
    end: int = 0
    cited: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark `[n]` in an answer, tied to a place and the words there.

    origin: `model` when the LLM wrote the mark, `quote` in quote mode, `matched` when Alioth found the passage
    that supports a sentence for which the LLM wrote no mark.
    """

    n: int
    chunk_id: int
    document_id: str
    version_id: str
    collection_id: str
    document: str
    title: str
    locator: Locator
    quote: str
    origin: str = "model"


class AnswerMode(StrEnum):
    AUTOMATIC = "automatic"
    ANSWER = "answer"
    QUOTE = "quote"


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two documents that give different values for what reads as the same thing.

    first, second: numbers of the answer's citations that show both places; `first` is the one the answer goes by.
    first_value, second_value: as written there. kind: number or date.
    """

    first: int
    second: int
    first_value: str
    second_value: str
    kind: str = "number"


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. `notice`: message-catalogue keys to show above it, e.g. `quote_mode_language`.

    mode: how it was made (answer or quote). stopped: cut short by the user; nearest: documents offered with a
    refusal. timings: seconds by stage name. filters: what the search was narrowed to, as JSON (core/filters.py).
    task: what a document task found beside the text, as JSON (docs/tasks.md); empty for answers to questions.
    context: what the model was given: passages read, left_out for want of room, cut 1 when one was shortened.
    suspicious: kinds of instructions to an assistant (chat/injection.py) in what each citation number names.
    settings: how a generated answer was made, as JSON (core/answer_settings.py); empty for quotes.
    """

    text: str
    language: str
    mode: AnswerMode
    refused: bool = False
    stopped: bool = False
    citations: tuple[Citation, ...] = ()
    verification: tuple[SentenceCheck, ...] = ()
    nearest: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    standalone_question: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)
    contradictions: tuple[Contradiction, ...] = ()
    task: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, int] = field(default_factory=dict)
    suspicious: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
