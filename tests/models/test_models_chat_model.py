"""Our language model in a company's own LangChain chains: usage, callbacks, answers by a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from core.errors import InputError
from models.chat_model import AliothChatModel
from models.engine.llama import LlamaCppModel
from models.fakes import FakeLanguageModel
from models.protocols import GenerationSettings

ASKED = [HumanMessage("What is the capital of France? Answer as JSON.")]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}


class City(BaseModel):
    city: str


def test_a_schema_gives_a_dict_and_a_class_gives_an_instance() -> None:
    chat = AliothChatModel(FakeLanguageModel(['{"city": "Paris"}']))
    assert chat.with_structured_output(SCHEMA).invoke(ASKED) == {"city": "Paris"}
    assert chat.with_structured_output(City).invoke(ASKED) == City(city="Paris")
    for wrong, raw in ((int, False), (SCHEMA, True)):
        with pytest.raises(InputError):
            chat.with_structured_output(wrong, include_raw=raw)  # type: ignore[arg-type]


def test_the_real_model_is_held_to_the_schema(llama: LlamaCppModel) -> None:
    chat = AliothChatModel(llama, settings=GenerationSettings(max_tokens=24))
    answer = chat.bind(json_schema=json.dumps(SCHEMA)).invoke(ASKED)
    assert json.loads(str(answer.content))["city"] in ("Paris", "Rome")


def test_callbacks_see_each_piece_and_the_usage_is_counted() -> None:
    class Collects(BaseCallbackHandler):
        def __init__(self) -> None:
            self.pieces: list[str] = []

        def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
            self.pieces.append(token)

    collects = Collects()
    answer = AliothChatModel(FakeLanguageModel(["one two three"])).invoke(ASKED, config={"callbacks": [collects]})
    assert "".join(collects.pieces) == answer.content == "one two three" and len(collects.pieces) >= 3
    assert answer.usage_metadata and answer.usage_metadata["output_tokens"] == 3
