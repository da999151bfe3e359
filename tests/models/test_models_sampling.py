"""Settings of generation: limits with units, what they do, and that a seed gives the same answer again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.answer_settings import LIMITS
from core.errors import InputError, NotFoundError
from models.client.connection import ModelsClient
from models.engine.llama import LlamaCppModel
from models.engine.sampling import require_valid
from models.protocols import GenerationSettings, LanguageModel, Message
from models.requests import ChatRequest

STORY = [Message("user", "Tell a story about a lighthouse.")]
FREE = GenerationSettings(max_tokens=20, temperature=1.2, top_p=1.0, seed=11)


def text(llm: LanguageModel, settings: GenerationSettings) -> str:
    return "".join(delta.text for delta in llm.stream(STORY, settings))


@pytest.mark.parametrize("name", LIMITS)
def test_each_value_is_refused_just_outside_its_limits_and_taken_at_them(name: str) -> None:
    least, most, unit = LIMITS[name]
    whole = name in ("top_k", "seed", "max_tokens")
    for value in (least, most):
        require_valid(replace(GenerationSettings(), **{name: int(value) if whole else value}))  # type: ignore[arg-type]
    outside = [least - 1, most + 1, float("nan"), "2"] + ([1.5] if whole else [])
    for wrong in outside:
        with pytest.raises(InputError, match=name) as caught:
            require_valid(replace(GenerationSettings(), **{name: wrong}))  # type: ignore[arg-type]
        assert unit in caught.value.message and str(wrong) in caught.value.message


@pytest.mark.parametrize("stop", [("",), ("x" * 201,), tuple("abcdefghijklmnopq")])
def test_stop_texts_have_limits(stop: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="stop text"):
        require_valid(GenerationSettings(stop=stop))


def test_the_same_seed_and_settings_give_the_same_answer_and_other_seeds_others(llama: LlamaCppModel) -> None:
    text(llama, FREE)  # later ones find the prompt read already, so that all are computed alike
    first = text(llama, FREE)
    text(llama, replace(FREE, seed=99, max_tokens=6))
    assert text(llama, FREE) == first
    assert len({text(llama, replace(FREE, seed=seed)) for seed in (11, 12, 13)}) == 3


def test_top_k_1_and_a_high_min_p_leave_only_the_likeliest_token(llama: LlamaCppModel) -> None:
    greedy = text(llama, replace(FREE, temperature=0.0))
    assert text(llama, replace(FREE, top_k=1)) == greedy
    assert text(llama, replace(FREE, min_p=1.0)) == greedy
    assert text(llama, FREE) != greedy


def test_the_models_process_takes_the_settings_and_refuses_wrong_ones(client: ModelsClient) -> None:
    llm = client.llm()
    greedy = text(llm, replace(FREE, temperature=0.0))
    assert text(llm, replace(FREE, top_k=1)) == greedy
    assert text(llm, FREE) != greedy
    with pytest.raises(InputError, match="min_p"):
        text(llm, replace(FREE, min_p=1.5))
    with pytest.raises(NotFoundError, match="no adapter 'nope'"):
        text(llm, replace(FREE, adapters=(("nope", 1.0),)))
    assert text(llm, replace(FREE, temperature=0.0)) == greedy


def test_openai_fields_become_settings() -> None:
    def made(**fields: object) -> GenerationSettings:
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
        return ChatRequest.model_validate(body).settings()

    schema = {"type": "object", "properties": {"年": {"type": "integer"}}}
    given = made(
        top_k=5,
        min_p=0.1,
        adapters={"a": 0.5},
        response_format={"type": "json_schema", "json_schema": {"schema": schema}},
    )
    assert (given.top_k, given.min_p, given.adapters) == (5, 0.1, (("a", 0.5),))
    assert "年" in given.json_schema
    assert made(response_format={"type": "text"}).json_schema == ""
    assert made(response_format={"type": "json_object"}).json_schema == '{"type":"object"}'
    assert made(seed=2**63).seed <= LIMITS["seed"][1] and made(seed=7).seed == 7
    drawn = {made(seed=-1).seed for _ in range(4)}
    assert len(drawn) > 1
    with pytest.raises(InputError, match="response_format"):
        made(response_format={"type": "json_schema"})
