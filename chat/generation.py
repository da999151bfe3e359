"""From settings as people give them to what the language model gets, and to what is kept with the answer."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from chat.context import Source
from core.answer_settings import MAX_SEED, AnswerSettings, Resolved
from core.settings import ChatSettings
from core.types import Citation
from models.protocols import GenerationSettings

_QUOTE_CHARS = 400


def instance_settings(settings: ChatSettings) -> AnswerSettings:
    """What the instance says: ALIOTH_CHAT__GENERATION before __PRESET, __TEMPERATURE and __ANSWER_TOKENS.

    Raises:
        InputError: a value breaks its rule.
    """
    plain: dict[str, Any] = {"preset": settings.preset or None, "max_tokens": settings.answer_tokens}
    if settings.temperature:
        plain["temperature"] = settings.temperature
    return AnswerSettings.from_dict(plain | AnswerSettings.from_json(settings.generation).to_dict())


def to_generation(chosen: Resolved) -> GenerationSettings:
    """For one answer. A seed that nobody gave is drawn where chance plays a part, so that it can be kept."""
    values = chosen.values
    drawn = secrets.randbelow(MAX_SEED + 1) if values["temperature"] > 0 else 0
    return GenerationSettings(
        max_tokens=values["max_tokens"],
        temperature=float(values["temperature"]),
        top_p=float(values["top_p"]),
        repeat_penalty=float(values["repeat_penalty"]),
        seed=drawn if values["seed"] is None else values["seed"],
        stop=tuple(values["stop"]),
        top_k=values["top_k"],
        min_p=float(values["min_p"]),
        json_schema=values["json_schema"],
        adapters=tuple(values["adapters"]),
    )


def as_made(chosen: Resolved, generation: GenerationSettings, model: str) -> dict[str, object]:
    """What is kept with the answer: with these, model and documents unchanged, it comes out the same."""
    made = chosen.to_dict()
    return {**made, "values": {**made["values"], "seed": generation.seed}, "model": model}


def fence_word(seed: int, question: str, sources: Sequence[Source]) -> str:
    """The word between which passages stand, the same for the same seed, question and passages.

    Nobody who writes a document profits from guessing it: the prompt breaks it up wherever a passage has it.
    """
    digest = hashlib.sha256(f"{seed}\0{question}".encode("utf-8", "replace"))
    for source in sources:
        digest.update(source.passage.text.encode("utf-8", "replace"))
    return digest.hexdigest()[:8]


def whole_sources(sources: Sequence[Source]) -> tuple[Citation, ...]:
    """One citation per passage that the model read, for answers without marks."""
    return tuple(
        Citation(
            n=source.passage.n,
            chunk_id=source.passage.chunk.id,
            document_id=source.passage.chunk.document_id,
            version_id=source.passage.chunk.version_id,
            collection_id=source.passage.chunk.collection_id,
            document=source.passage.chunk.path,
            title=source.passage.chunk.title,
            locator=source.passage.chunk.locator,
            quote=source.passage.text[:_QUOTE_CHARS],
            origin="read",
        )
        for source in sources
    )
