"""Bodies that the models process accepts: the OpenAI fields it honours; others are ignored."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from models.protocols import GenerationSettings, Message


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]]

    def to_message(self) -> Message:
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return Message(role, self.content)
        return Message(role, "".join(str(part.get("text", "")) for part in self.content))


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
            "seed": None if self.seed is None else self.seed & 0xFFFFFFFF,
        }
        return GenerationSettings(stop=stop, **{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]

    @property
    def include_usage(self) -> bool:
        return bool((self.stream_options or {}).get("include_usage"))


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
