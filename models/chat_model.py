"""Our language model as a LangChain chat model, for a company's own chains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel, generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict

from core.errors import InputError
from models.protocols import GenerationSettings, LanguageModel, Message

_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


class AliothChatModel(BaseChatModel):
    """Wraps any `LanguageModel`. `settings` are the defaults; `max_tokens`, `temperature`, ... may be bound."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    llm: Any
    settings: GenerationSettings = GenerationSettings()
    user: str = ""

    def __init__(self, llm: LanguageModel, **fields: Any) -> None:
        super().__init__(llm=llm, **fields)

    @property
    def _llm_type(self) -> str:
        return "alioth"

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Answers held to a JSON schema: a dict for a dict, an instance for a pydantic class.

        Raises:
            InputError: `include_raw`, or a schema that is neither.
        """
        if include_raw:
            raise InputError("include_raw is not supported.", "Bind json_schema yourself and parse the message.")
        if isinstance(schema, dict):
            return self.bind(json_schema=json.dumps(schema), **kwargs) | JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            text = json.dumps(schema.model_json_schema())
            return self.bind(json_schema=text, **kwargs) | PydanticOutputParser(pydantic_object=schema)
        raise InputError(f"{schema!r} is no schema.", "Give a JSON schema as a dict, or a pydantic class.")

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        prompt = [_message(message) for message in messages]
        for delta in self.llm.stream(prompt, self._settings(stop, kwargs), None, self.user):
            if not (delta.text or delta.finish_reason):
                continue
            usage: UsageMetadata | None = None
            if delta.finish_reason:
                total = delta.prompt_tokens + delta.generated_tokens
                usage = UsageMetadata(
                    input_tokens=delta.prompt_tokens, output_tokens=delta.generated_tokens, total_tokens=total
                )
            info = {"finish_reason": delta.finish_reason} if delta.finish_reason else None
            chunk = ChatGenerationChunk(
                message=AIMessageChunk(content=delta.text, usage_metadata=usage), generation_info=info
            )
            if run_manager:
                run_manager.on_llm_new_token(delta.text, chunk=chunk)
            yield chunk

    def _settings(self, stop: list[str] | None, given: dict[str, Any]) -> GenerationSettings:
        from dataclasses import fields, replace

        names = {field.name for field in fields(GenerationSettings)}
        changes = {name: value for name, value in given.items() if name in names and value is not None}
        if stop:
            changes["stop"] = tuple(stop)
        return replace(self.settings, **changes)


def _message(message: BaseMessage) -> Message:
    role = _ROLES.get(message.type)
    if role is None:
        raise InputError(f"Messages of type {message.type!r} are not supported.", f"Use {', '.join(_ROLES)}.")
    return Message(role, message.text if isinstance(message.text, str) else str(message.content))
