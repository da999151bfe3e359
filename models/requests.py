"""Bodies that the models process accepts: the OpenAI fields it honours; others are ignored. And those it sends."""

from __future__ import annotations

import json
import secrets
from typing import Any, Literal

from pydantic import BaseModel, Field

from core.answer_settings import MAX_SEED
from core.errors import InputError
from models.protocols import GenerationSettings, Message


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]]

    def to_message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return Message(role, self.content)
        return Message(role, "".join(str(part.get("text", "")) for part in self.content))


class ResponseFormat(BaseModel):
    """OpenAI's: free text, any JSON object, or JSON by a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: dict[str, Any] | None = None

    def schema_text(self) -> str:
        """The schema as JSON text; empty for free text.

        Raises:
            InputError: `json_schema` without a schema.
        """
        if self.type == "text":
            return ""
        if self.type == "json_object":
            return '{"type":"object"}'
        schema = (self.json_schema or {}).get("schema")
        if not isinstance(schema, dict):
            raise InputError(
                "response_format is 'json_schema', but response_format.json_schema.schema is no object.",
                'Send {"type": "json_schema", "json_schema": {"name": "…", "schema": {…}}}.',
            )
        return json.dumps(schema, ensure_ascii=False)


def _seed(given: int) -> int:
    """OpenAI clients send any whole number; a negative one means "draw one"."""
    return secrets.randbelow(MAX_SEED + 1) if given < 0 else given % (MAX_SEED + 1)


class ChatRequest(BaseModel):
    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    repeat_penalty: float | None = Field(None, ge=0.5, le=2)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    response_format: ResponseFormat | None = None
    adapters: dict[str, float] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    user: str = ""

    def settings(self) -> GenerationSettings:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        given = {
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "repeat_penalty": self.repeat_penalty,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "json_schema": self.response_format.schema_text() if self.response_format else None,
            "adapters": tuple(self.adapters.items()) if self.adapters else None,
            "seed": None if self.seed is None else _seed(self.seed),
        }
        return GenerationSettings(stop=stop, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]

    @property
    def include_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))


def openai_fields(settings: GenerationSettings) -> dict[str, Any]:
    """The settings that every OpenAI-compatible server knows, as fields of a request."""
    stop = {"stop": list(settings.stop)} if settings.stop else {}
    return {
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": settings.seed,
        **stop,
    }


def response_format(schema: str) -> dict[str, Any]:
    """The field for JSON by a schema; {} for free text. Goes beside LangChain, which would parse the answer itself."""
    if not schema:
        return {}
    wanted = {"name": "answer", "schema": json.loads(schema), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": wanted}}


class EmbeddingRequest(BaseModel):
    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"

    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class TokensRequest(BaseModel):
    model: str
    texts: list[str]


class UseRequest(BaseModel):
    model: str
