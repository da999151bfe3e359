"""LangChain's OpenAI chat class that keeps the place in the queue, which the original drops."""

from __future__ import annotations

from typing import Any

from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from models.wire import PLACE_FIELD


class PlacedChatOpenAI(ChatOpenAI):
    """Each streamed chunk has the place in `additional_kwargs` while the request waits."""

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        converted = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if converted is not None and chunk.get(PLACE_FIELD):
            converted.message.additional_kwargs[PLACE_FIELD] = chunk[PLACE_FIELD]
        return converted
