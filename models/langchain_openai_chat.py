"""LangChain's OpenAI chat class, for our own models process and for other engines."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from models.wire import PLACE_FIELD, WAIT_FIELD


class PlacedChatOpenAI(ChatOpenAI):
    """Each streamed chunk has the place in `additional_kwargs` while the request waits."""

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        converted = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        if converted is not None and chunk.get(PLACE_FIELD):
            converted.message.additional_kwargs[PLACE_FIELD] = chunk[PLACE_FIELD]
            converted.message.additional_kwargs[WAIT_FIELD] = int(chunk.get(WAIT_FIELD, 0))
        return converted


class EngineChatOpenAI(ChatOpenAI):
    """For servers that are not OpenAI's own: the older name of the limit on tokens, which all of them know.

    new_token_limit: `max_completion_tokens`, which OpenAI's newer models demand.
    """

    new_token_limit: bool = False

    def _get_request_payload(
        self, input_: LanguageModelInput, *, stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if not self.new_token_limit and "max_completion_tokens" in payload:
            payload["max_tokens"] = payload.pop("max_completion_tokens")
        return payload
