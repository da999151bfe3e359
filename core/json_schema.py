"""Which JSON schemas an answer can be held to: small ones, with the keywords that a grammar can express."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from core.errors import InputError

MAX_CHARS: Final = 20_000
MAX_NODES: Final = 400
MAX_DEPTH: Final = 12
MAX_CHOICES: Final = 200
MAX_ITEMS: Final = 100
MAX_TEXT: Final = 500

_NOTES: Final = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly"}
)
_SHAPE: Final = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems", "enum",
     "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions", "minLength", "maxLength", "format"}
)  # fmt: skip
_ALONE: Final = frozenset({"anyOf", "oneOf", "allOf", "$ref"})
_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
FORMATS: Final = frozenset({"date", "time", "date-time", "uuid"})
_COUNTS: Final = {"minItems": MAX_ITEMS, "maxItems": MAX_ITEMS, "minLength": MAX_TEXT, "maxLength": MAX_TEXT}


@functools.lru_cache(maxsize=64)
def check_schema(text: str) -> str:
    """The schema as compact JSON text, when an answer can be held to it.

    Nothing is fetched and no regular expression is run.

    Raises:
        InputError: no JSON, no valid schema, too large, or it asks for something that a grammar cannot hold. Names
            the place in the schema.
    """
    if len(text) > MAX_CHARS:
        raise _wrong("#", f"it has {len(text)} characters, over the limit of {MAX_CHARS}")
    try:
        schema = json.loads(text)
    except RecursionError:
        raise _wrong("#", "it is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"The JSON schema is no JSON: {error}.", "Check it with a JSON validator.") from None
    if not isinstance(schema, dict) or not schema:
        raise _wrong("#", "it must be an object with at least a 'type'")
    for nodes, (place, node, depth) in enumerate(_nodes(schema, "#", 0), start=1):
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _wrong(
                place, f"the limits are {MAX_NODES} parts and {MAX_DEPTH} levels, here {nodes} parts, level {depth}"
            )
        _check_node(place, node)
    _check_refs(schema)
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def schema_problem(schema: str, answer: str) -> str:
    """Why an answer does not follow a schema that passed `check_schema`; empty when it does."""
    import jsonschema

    try:
        jsonschema.Draft202012Validator(json.loads(schema)).validate(json.loads(answer))
    except (ValueError, RecursionError):
        return "The answer is no complete JSON; it may have been cut off at the longest answer."
    except jsonschema.ValidationError as error:
        return f"At {error.json_path}: {error.message[:200]}."
    return ""


def _wrong(place: str, why: str) -> InputError:
    return InputError(
        f"The JSON schema cannot be used: at '{place}' {why}.",
        "docs/generation.md lists what can be used.",
    )


def _nodes(node: Any, place: str, depth: int) -> Iterator[tuple[str, dict[str, Any], int]]:
    """Every subschema with its place; deeper ones after those above."""
    if not isinstance(node, dict):
        raise _wrong(place, f"{str(node)[:40]!r} stands where a schema must, which is an object")
    _check_containers(place, node)
    yield place, node, depth
    for key in ("properties", "$defs", "definitions"):
        for name, child in node.get(key, {}).items():
            yield from _nodes(child, f"{place}/{key}/{name}", depth + 1)
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for at, child in enumerate(node.get(key, [])):
            yield from _nodes(child, f"{place}/{key}/{at}", depth + 1)
    if "items" in node:
        yield from _nodes(node["items"], f"{place}/items", depth + 1)
    if isinstance(node.get("additionalProperties"), dict):
        yield from _nodes(node["additionalProperties"], f"{place}/additionalProperties", depth + 1)


def _check_containers(place: str, node: Mapping[str, Any]) -> None:
    for key in ("properties", "$defs", "definitions"):
        if not isinstance(node.get(key, {}), dict):
            raise _wrong(f"{place}/{key}", "it must be an object of schemas")
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in node and (not isinstance(node[key], list) or not node[key]):
            raise _wrong(f"{place}/{key}", "it must be a list of schemas, not an empty one")


def _check_node(place: str, node: Mapping[str, Any]) -> None:
    shape = set(node) - _NOTES
    if unknown := sorted(shape - _SHAPE):
        raise _wrong(place, f"it uses {unknown[0]!r}, which a grammar cannot hold an answer to")
    alone = shape & _ALONE
    if alone and shape - alone - {"$defs", "definitions"}:
        raise _wrong(place, f"{min(alone)!r} stands beside other rules; it must stand alone")
    if len(alone) > 1 or len(node.get("allOf", [1])) > 1:
        raise _wrong(place, "only one of anyOf, oneOf, $ref, or allOf with a single schema, can be used")
    _check_type(place, node)
    _check_choices(place, node)
    _check_counts(place, node)
    _check_object(place, node)


def _check_type(place: str, node: Mapping[str, Any]) -> None:
    types = node.get("type", [])
    listed = types if isinstance(types, list) else [types]
    if not all(isinstance(one, str) and one in _TYPES for one in listed) or ("type" in node and not listed):
        raise _wrong(place, f"the type is {str(types)[:40]!r}; it must be one of {', '.join(sorted(_TYPES))}")
    if (form := node.get("format")) is not None and form not in FORMATS:
        raise _wrong(place, f"the format is {str(form)[:40]!r}; known are {', '.join(sorted(FORMATS))}")
    if "format" in node and ({"minLength", "maxLength"} & set(node)):
        raise _wrong(place, "a format and a length cannot be asked for together")
    wanted = [
        (("minLength", "maxLength", "format"), "string"),
        (("items", "prefixItems", "minItems", "maxItems"), "array"),
        (("properties", "required", "additionalProperties"), "object"),
    ]
    for keys, kind in wanted:
        if any(key in node for key in keys) and kind not in listed:
            raise _wrong(place, f"{next(key for key in keys if key in node)!r} needs the type {kind!r} beside it")


def _check_choices(place: str, node: Mapping[str, Any]) -> None:
    choices = node.get("enum", [0])
    if not isinstance(choices, list) or not 1 <= len(choices) <= MAX_CHOICES:
        raise _wrong(place, f"'enum' must be a list of 1 to {MAX_CHOICES} values")
    if {"enum", "const"} & set(node) and set(node) - _NOTES - {"enum", "type", "const", "$defs", "definitions"}:
        raise _wrong(place, "'enum' or 'const' stands beside other rules; only 'type' may")
    if {"enum", "const"} <= set(node):
        raise _wrong(place, "'enum' and 'const' stand together")
    if len(node.get("anyOf", node.get("oneOf", []))) > MAX_CHOICES:
        raise _wrong(place, f"more than {MAX_CHOICES} alternatives")


def _check_counts(place: str, node: Mapping[str, Any]) -> None:
    for key, most in _COUNTS.items():
        value = node.get(key, 0)
        if type(value) is not int or not 0 <= value <= most:
            raise _wrong(place, f"{key!r} is {str(value)[:40]!r}; it must be a whole number from 0 to {most}")
    for least, most_key in (("minItems", "maxItems"), ("minLength", "maxLength")):
        if most_key in node and node.get(least, 0) > node[most_key]:
            raise _wrong(place, f"{least!r} is over {most_key!r}")
    if "prefixItems" in node and {"items", "minItems", "maxItems"} & set(node):
        raise _wrong(place, "'prefixItems' stands beside 'items', 'minItems' or 'maxItems'")


def _check_object(place: str, node: Mapping[str, Any]) -> None:
    required, properties = node.get("required", []), node.get("properties", {})
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _wrong(place, "'required' must be a list of names")
    if missing := [name for name in required if name not in properties]:
        raise _wrong(place, f"'required' names {missing[0]!r}, which is not among the properties")
    if not isinstance(node.get("additionalProperties", True), bool | dict):
        raise _wrong(place, "'additionalProperties' must be true, false or a schema")


def _check_refs(schema: dict[str, Any]) -> None:
    """Every reference leads, within this schema, to a definition."""
    for place, node, _ in _nodes(schema, "#", 0):
        ref = node.get("$ref")
        if ref is None:
            continue
        parts = str(ref).split("/")
        target: Any = schema
        for part in parts[1:]:
            target = target.get(part) if isinstance(target, dict) else None
        if parts[0] != "#" or len(parts) != 3 or parts[1] not in ("$defs", "definitions") or not target:
            raise _wrong(place, f"'$ref' is {str(ref)[:80]!r}; it must lead to '#/$defs/NAME' of this schema")
