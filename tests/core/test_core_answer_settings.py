"""Settings of answers: each value's rule, presets, and which level decides."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.answer_settings import DEFAULTS, LEVELS, LIMITS, PRESETS, AnswerSettings, resolve
from core.errors import InputError, SettingsError
from core.settings import load_settings

NOTHING = AnswerSettings()


def test_the_nearest_level_decides_each_value_by_itself() -> None:
    chosen = resolve(
        AnswerSettings(temperature=0.1, top_k=1, top_p=0.1, seed=1, system_prompt="instance"),
        [AnswerSettings(temperature=0.2, top_k=2, top_p=0.2, system_prompt="collection")],
        AnswerSettings(temperature=0.3, top_k=3),
        AnswerSettings(temperature=0.4),
    )
    values, origins = chosen.values, chosen.origins
    assert (values["temperature"], values["top_k"], values["top_p"], values["seed"]) == (0.4, 3, 0.2, 1)
    named = [origins[name] for name in ("temperature", "top_k", "top_p", "seed", "min_p")]
    assert named == [*LEVELS, "default"]
    assert chosen.prompts == ("instance", "collection")


def test_a_preset_is_laid_out_at_its_own_level_and_own_values_go_before_it() -> None:
    chosen = resolve(
        AnswerSettings(temperature=0.7, max_tokens=99),
        [AnswerSettings(preset="creative", top_k=7)],
        AnswerSettings(preset="precise"),
    )
    assert chosen.values["temperature"] == PRESETS["precise"]["temperature"] == 0
    assert chosen.values["top_k"] == PRESETS["precise"]["top_k"]
    assert chosen.values["max_tokens"] == 99
    only = resolve(NOTHING, [AnswerSettings(preset="creative", top_k=7)])
    assert (only.values["top_k"], only.values["temperature"]) == (7, PRESETS["creative"]["temperature"])


def test_greedy_is_temperature_0_and_goes_against_a_lower_level() -> None:
    chosen = resolve(AnswerSettings(temperature=1.0), request=AnswerSettings(greedy=True))
    assert (chosen.values["temperature"], chosen.origins["temperature"]) == (0.0, "request")


def test_what_several_collections_disagree_on_is_left_to_the_instance_and_named() -> None:
    one = AnswerSettings(preset="balanced", system_prompt="formal")
    chosen = resolve(AnswerSettings(temperature=0.9), [one, AnswerSettings(temperature=0.1), NOTHING])
    assert chosen.values["temperature"] == 0.9 and chosen.origins["temperature"] == "instance"
    assert chosen.values["top_k"] == 40 and chosen.conflicts == ("temperature",)
    assert chosen.prompts == ("formal",)
    differ = resolve(NOTHING, [one, AnswerSettings(system_prompt="casual")])
    assert differ.prompts == () and "system_prompt" in differ.conflicts


def test_without_any_level_the_defaults_count() -> None:
    chosen = resolve(NOTHING)
    assert dict(chosen.values) == dict(DEFAULTS) and set(chosen.origins.values()) == {"default"}


def test_json_by_a_schema_is_not_penalised_for_repeating_itself_unless_asked() -> None:
    schema = AnswerSettings(json_schema='{"type":"object"}')
    assert resolve(NOTHING, request=schema).values["repeat_penalty"] == 1.0
    assert resolve(AnswerSettings(repeat_penalty=1.3), request=schema).values["repeat_penalty"] == 1.3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"temperature": 2.1}, "temperature is '2.1'; it must be from 0 to 2"),
        ({"temperature": float("nan")}, "nan"),
        ({"top_k": 1.5}, "top_k is '1.5'; it must be a whole number"),
        ({"top_p": 0}, "share of probability"),
        ({"seed": -1}, "seed is '-1'"),
        ({"seed": True}, "seed is 'True'"),
        ({"max_tokens": 0}, "tokens"),
        ({"max_tokens": "many"}, "max_tokens is 'many'"),
        ({"stop": [""]}, "1 to 200 characters"),
        ({"stop": [3]}, "1 to 200 characters"),
        ({"stop": 3}, "1 to 200 characters"),
        ({"stop": list("abcdefghijklmnopq")}, "at most 16"),
        ({"greedy": True, "temperature": 0.5}, "greedy is temperature 0"),
        ({"greedy": "yes"}, "true or false"),
        ({"preset": "wild"}, "precise, balanced, creative"),
        ({"system_prompt": "x" * 2001}, "2001 characters, over the limit of 2000"),
        ({"system_prompt": 5}, "a text"),
        ({"adapters": {"a": 2.01}}, "from 0 to 2"),
        ({"adapters": ["a"]}, "object of id to scale"),
        ({"adapters": {name: 1 for name in "abcde"}}, "at most 4"),
        ({"json_schema": "{"}, "no JSON"),
        ({"warmth": 1}, "Unknown setting 'warmth'"),
    ],
    ids=str,
)
def test_a_wrong_value_is_told_with_its_rule(data: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        AnswerSettings.from_dict(data)
    assert caught.value.hint


NUMBERS = {
    name: st.none()
    | (st.integers(int(least), int(most)) if name in ("top_k", "seed", "max_tokens") else st.floats(least, most))
    for name, (least, most, _) in LIMITS.items()
}


@given(
    st.fixed_dictionaries(
        {
            **NUMBERS,
            "preset": st.none() | st.sampled_from(list(PRESETS)),
            "stop": st.none() | st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=3).map(tuple),
            "system_prompt": st.text(max_size=20),
            "adapters": st.none() | st.just((("a", 0.5),)),
        }
    )
)
def test_what_is_written_as_json_is_read_back(values: dict[str, Any]) -> None:
    made = AnswerSettings(**values)
    assert AnswerSettings.from_dict(made.to_dict()) == made


def test_the_instance_is_set_by_the_environment_and_a_wrong_value_names_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from chat.generation import instance_settings

    monkeypatch.setenv("ALIOTH_CHAT__PRESET", "balanced")
    monkeypatch.setenv("ALIOTH_CHAT__ANSWER_TOKENS", "99")
    monkeypatch.setenv("ALIOTH_CHAT__GENERATION", '{"top_k": 9, "system_prompt": "Be formal."}')
    chosen = resolve(instance_settings(load_settings().chat))
    assert (chosen.values["temperature"], chosen.values["top_k"], chosen.values["max_tokens"]) == (0.5, 9, 99)
    assert chosen.prompts == ("Be formal.",)
    for wrong in ('{"top_k": -1}', "[1]", "{"):
        monkeypatch.setenv("ALIOTH_CHAT__GENERATION", wrong)
        with pytest.raises(SettingsError, match="ALIOTH_CHAT__GENERATION"):
            load_settings()
