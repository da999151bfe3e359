"""Answers held to a JSON schema: valid JSON whatever the model would rather say, and schemas that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AliothError, InputError
from core.json_schema import MAX_NODES, check_schema, schema_problem
from models.client.connection import ModelsClient
from models.engine.grammar import grammar_of
from models.engine.llama import LlamaCppModel
from models.protocols import GenerationSettings, LanguageModel, Message

ASKED = [Message("user", "Describe the city of Paris as JSON.")]
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "城市": {"type": "string", "maxLength": 12},
        "kind": {"enum": ['a "quoted" word', "back\\slash", "两\n行"]},
        "mayor": {"anyOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
        "count": {"type": ["integer", "null"]},
    },
    "required": ["城市", "kind", "count"],
    "additionalProperties": False,
    "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}}}},
}


def ask(llm: LanguageModel, schema: dict[str, Any], **more: Any) -> tuple[str, str]:
    settings = GenerationSettings(max_tokens=160, repeat_penalty=1.0, json_schema=json.dumps(schema), **more)
    deltas = list(llm.stream(ASKED, settings))
    return "".join(delta.text for delta in deltas), deltas[-1].finish_reason


@pytest.mark.parametrize("more", [{}, {"temperature": 1.8, "top_p": 1.0, "seed": 3}, {"temperature": 1.0, "top_k": 3}])
def test_an_answer_follows_its_schema_to_the_end(llama: LlamaCppModel, more: dict[str, Any]) -> None:
    text, reason = ask(llama, CITY, **more)
    assert reason == "stop"
    assert schema_problem(check_schema(json.dumps(CITY)), text) == ""


SMALL: list[dict[str, Any]] = [
    {"enum": ["red", 1, None, True, {"a": [1]}]},
    {"const": "\t\u2028é"},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
    {"type": "array", "prefixItems": [{"type": "null"}, {"const": 2}]},
    {"type": "string", "format": "date"},
    {"type": "string", "minLength": 2, "maxLength": 3},
    {"type": "object", "additionalProperties": False},
    {"allOf": [{"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"]}]},
    {"type": "object", "properties": {"a b": {"const": 1}, "a-b": {"const": 2}}, "required": ["a b", "a-b"]},
]


@pytest.mark.parametrize("schema", SMALL, ids=lambda schema: json.dumps(schema)[:40])
def test_each_kind_of_rule_is_kept(llama: LlamaCppModel, schema: dict[str, Any]) -> None:
    text, reason = ask(llama, schema, temperature=1.5, seed=2)
    assert reason == "stop" and schema_problem(check_schema(json.dumps(schema)), text) == ""


def test_definitions_with_one_last_name_do_not_take_each_others_rules() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/definitions/x"}},
        "$defs": {"x": {"const": "first"}},
        "definitions": {"x": {"const": "second"}},
    }
    grammar = grammar_of(json.dumps(schema))
    assert "first" in grammar and "second" in grammar


def test_an_answer_that_was_cut_off_is_told() -> None:
    assert "cut off" in schema_problem('{"type":"object"}', '{"a": ')
    assert "is not of type" in schema_problem('{"type":"object"}', "[]")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "no JSON"),
        ("[]", "must be an object"),
        ("{}", "at least a 'type'"),
        ('{"type": "date"}', "'date'"),
        ('{"type": "string", "pattern": "(a+)+$"}', "'pattern'"),
        ('{"type": "integer", "minimum": 3}', "'minimum'"),
        ('{"not": {"type": "null"}}', "'not'"),
        ('{"type": "string", "format": "email"}', "'email'"),
        ('{"$ref": "https://example.org/schema"}', "must lead to"),
        ('{"$ref": "#/$defs/none"}', "must lead to"),
        ('{"$ref": "#"}', "must lead to"),
        ('{"type": "array", "items": true}', "must, which is an object"),
        ('{"type": "array", "minItems": 5, "maxItems": 2}', "over 'maxItems'"),
        ('{"type": "array", "maxItems": 100000}', "from 0 to 100"),
        ('{"type": "string", "maxLength": 1e9}', "from 0 to 500"),
        ('{"type": "object", "required": ["a"]}', "'required' names 'a'"),
        ('{"anyOf": [{"type": "null"}], "type": "object"}', "stand alone"),
        ('{"anyOf": []}', "empty"),
        (json.dumps({"enum": list(range(1000))}), "1 to 200"),
        (json.dumps({"type": "object", "properties": {f"p{n}": {"type": "null"} for n in range(MAX_NODES)}}), "parts"),
        ('{"type":"array","items":' * 40 + '{"type":"null"}' + "}" * 40, "levels"),
        ('{"items":' * 2000 + "1" + "}" * 2000, "nested|levels|lists|needs"),
        (" " * 30_000, "30000 characters"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_schema_that_cannot_be_held_to_is_refused_with_its_place(schema: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        grammar_of(schema)


def test_a_schema_without_an_end_is_refused_and_the_model_goes_on(llama: LlamaCppModel) -> None:
    endless = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}
    with pytest.raises(InputError):
        ask(llama, endless)
    assert ask(llama, {"const": 1})[0].strip() == "1"


def test_the_models_process_holds_answers_to_a_schema_and_refuses_wrong_ones(client: ModelsClient) -> None:
    text, _ = ask(client.llm(), {"enum": ["yes", "no"]})
    assert json.loads(text) in ("yes", "no")
    with pytest.raises(InputError, match="'minimum'"):
        ask(client.llm(), {"type": "integer", "minimum": 3})


KEYS = st.sampled_from(
    ["type", "properties", "items", "enum", "const", "anyOf", "$ref", "required", "minItems", "maxLength", "$defs", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "array", "string", "#/$defs/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_whatever_stands_in_a_schema_it_gives_a_grammar_or_our_error(schema: dict[str, Any]) -> None:
    try:
        grammar = grammar_of(json.dumps(schema))
    except AliothError as error:
        assert error.message and error.hint
    else:
        assert "root ::=" in grammar
