"""JSON schema to the grammar (GBNF) that llama.cpp holds an answer to."""

from __future__ import annotations

import functools
import json
from typing import Any, Final

from core.errors import InputError
from core.json_schema import check_schema

MAX_GRAMMAR_CHARS: Final = 400_000
_ANY: Final = {"type": "value"}  # the converter's own word for "any JSON value"
_CHAR: Final = r'[^"\\\x7F\x00-\x1F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F])'


@functools.lru_cache(maxsize=32)
def grammar_of(schema: str) -> str:
    """GBNF of a JSON schema, its root rule named `root`. Reads nothing but the text.

    Raises:
        InputError: the schema is invalid, too large, or asks for what a grammar cannot express.
    """
    plain = _plain(json.loads(check_schema(schema)))
    try:
        grammar = _convert(plain)
    except (AssertionError, KeyError, ValueError, TypeError, IndexError, RecursionError) as error:
        raise InputError(f"The JSON schema cannot be followed: {error!r:.200}.", "Simplify it.") from error
    if len(grammar) > MAX_GRAMMAR_CHARS:
        raise InputError(
            f"The JSON schema makes a grammar of {len(grammar)} characters, over the limit of {MAX_GRAMMAR_CHARS}.",
            "Use fewer optional properties, choices and lengths.",
        )
    return grammar


def _plain(node: Any) -> Any:
    """The same schema in the words that the converter reads rightly."""
    if "$ref" in node:
        return {"$ref": node["$ref"], **_definitions(node)}
    for key in ("anyOf", "oneOf"):
        if key in node:
            return {"anyOf": [_plain(child) for child in node[key]], **_definitions(node)}
    if "allOf" in node:
        return {**_plain(node["allOf"][0]), **_definitions(node)}
    if "const" in node or "enum" in node:
        return {"enum": [node["const"]] if "const" in node else node["enum"], **_definitions(node)}
    kind = node.get("type")
    if kind is None:
        return {**_ANY, **_definitions(node)}
    if isinstance(kind, list):
        return {"anyOf": [_typed(node, one) for one in kind], **_definitions(node)}
    return {**_typed(node, kind), **_definitions(node)}


def _definitions(node: Any) -> dict[str, Any]:
    found = {key: node[key] for key in ("$defs", "definitions") if key in node}
    return {key: {name: _plain(child) for name, child in inner.items()} for key, inner in found.items()}


def _typed(node: Any, kind: str) -> dict[str, Any]:
    keys = {
        "object": ("required",),
        "array": ("minItems", "maxItems"),
        "string": ("minLength", "maxLength", "format"),
    }.get(kind, ())
    made: dict[str, Any] = {"type": kind, **{key: node[key] for key in keys if key in node}}
    if kind == "object":
        more = node.get("additionalProperties")
        if "properties" in node:
            made["properties"] = {name: _plain(child) for name, child in node["properties"].items()}
        if isinstance(more, dict):
            made["additionalProperties"] = _plain(more)
        elif more is False:
            # without it, and without properties, the converter would take any object
            made["additionalProperties"] = False
    if kind == "array":
        if "prefixItems" in node:
            made["prefixItems"] = [_plain(child) for child in node["prefixItems"]]
        else:
            made["items"] = _plain(node.get("items", {}))
    return made


def _convert(schema: dict[str, Any]) -> str:
    from llama_cpp import llama_grammar

    rules: Any = llama_grammar  # the package has no types
    converter_class: Any = rules.SchemaConverter

    class Converter(converter_class):  # type: ignore[misc]
        """llama-cpp-python's converter, with what it gets wrong put right."""

        def __init__(self) -> None:
            super().__init__(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
            self._names: dict[str, str] = {}

        def _format_literal(self, literal: str) -> str:
            # backslashes are not escaped there, so that a quote inside a value ends the literal
            literal = json.dumps(json.loads(literal), ensure_ascii=False)
            escaped = literal.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
            return f'"{escaped}"'

        def _generate_constant_rule(self, value: Any) -> str:
            return f"{self._format_literal(json.dumps(value))} space"

        def _resolve_ref(self, ref: str) -> str:
            # only the last part of a reference names its rule there, so that definitions could take each other's
            name = self._names.setdefault(ref, f"ref-{len(self._names)}")
            if name in self._rules or ref in self._refs_being_resolved:
                return name
            self._refs_being_resolved.add(ref)
            made = self._add_rule(name, self.visit(self._refs[ref], f"{name}-is"))
            self._refs_being_resolved.remove(ref)
            return str(made)

        def _add_primitive(self, name: str, rule: Any) -> str:
            # there, a text may contain line breaks and other control characters, which JSON forbids
            return str(super()._add_primitive(name, rules.BuiltinRule(_CHAR) if name == "char" else rule))

    converter = Converter()
    resolved = converter.resolve_refs(schema, "")
    converter.visit(resolved, "")
    return str(converter.format_grammar())
