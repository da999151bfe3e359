"""What an answer would read of a search's results: the passages, widened as far as the model's budget allows."""

from __future__ import annotations

import time
from dataclasses import dataclass

from chat.answer import MESSAGE_OVERHEAD
from chat.context import Source, build_context, single_sources, token_budget
from chat.ports import ChunkReader
from chat.prompt import build_prompt
from chat.retrieval.retrieve import Retrieval
from core.errors import ModelUnavailableError
from core.settings import ChatSettings
from core.text import detect_language
from core.types import StoredChunk
from models.protocols import LanguageModel


@dataclass(frozen=True, slots=True)
class Reading:
    """sources: the passages, numbered from 1. budget: tokens they may take, None when no model counts them and each
    stands as it is. left_out: chunks meant for the answer that had no room. seconds: what building this took."""

    sources: tuple[Source, ...]
    budget: int | None
    left_out: int
    seconds: float

    def added_to(self, source: Source) -> tuple[StoredChunk, ...]:
        """The neighbours that a passage was widened by, in order; none where it stands alone or was cut."""
        return tuple(chunk for _, _, chunk in source.parts if chunk.id != source.passage.chunk.id)


def reading(
    question: str, found: Retrieval, chunks: ChunkReader, llm: LanguageModel, settings: ChatSettings
) -> Reading:
    """The passages that a generated answer to a first question would be given; nothing is generated."""
    started = time.perf_counter()
    wanted = [item.chunk for item in found.results[: settings.passages]]
    budget: int | None = None
    try:
        info = llm.info()
        bare = build_prompt(question, [], detect_language(question), info.small)
        fixed = sum(llm.count_tokens([message.content for message in bare])) + MESSAGE_OVERHEAD * len(bare)
        budget = token_budget(info.window, settings.answer_tokens, fixed, info.reading_rate, settings.first_token_s)
        sources = build_context(question, found.results, chunks, llm.count_tokens, budget, settings.passages)
    except ModelUnavailableError:
        sources = single_sources(found.results, settings.passages)
    inside = {chunk.id for source in sources for _, _, chunk in source.parts}
    left_out = sum(chunk.id not in inside for chunk in wanted)
    return Reading(tuple(sources), budget, left_out, time.perf_counter() - started)
