"""What a server of a language model says about itself, and how it counts tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, Literal

from models.files.catalog import CatalogEntry, catalog
from models.remote.http import RemoteFailure, RemoteServer, no_api
from models.token_estimate import estimated_tokens

CHECK_S: Final = 10.0
SMALL_BILLIONS: Final = 2.0
"""Models below that are not trusted with their own wording, as in the catalogue."""
Flavour = Literal["llama.cpp", "vllm", "openai", "other"]
_OWNERS: Final[Mapping[str, Flavour]] = {
    "llamacpp": "llama.cpp",
    "vllm": "vllm",
    "openai": "openai",
    "system": "openai",
    "openai-internal": "openai",
}


@dataclass(frozen=True, slots=True)
class ServerAdapter:
    """A LoRA adapter that a llama.cpp server has loaded. scale: what it uses where a request names none."""

    id: int
    scale: float


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """model: its name there. window: tokens, 0 unknown. parameters: billions, 0 unknown. counts: it counts tokens.

    adapters: by the name of their file without its ending.
    """

    model: str
    flavour: Flavour
    window: int
    parameters: float
    counts: bool
    known: CatalogEntry | None
    adapters: Mapping[str, ServerAdapter] = field(default_factory=dict)


def facts_of(server: RemoteServer, name: str) -> ServerFacts:
    """Ask a server; `name` is the model wanted, empty takes the only one.

    Raises:
        RemoteFailure: it does not answer, is no OpenAI-compatible server, or serves another model.
    """
    row = _model_row(server, name)
    meta = row.get("meta") if isinstance(row.get("meta"), dict) else {}
    assert isinstance(meta, dict)
    flavour = _OWNERS.get(str(row.get("owned_by", "")).lower(), "other")
    model = str(row["id"])
    known = _in_catalogue(model)
    billions = _number(meta.get("n_params")) / 1e9 or (known.parameters if known else 0.0) or _billions_in(model)
    window = int(_number(row.get("max_model_len")) or _number(meta.get("n_ctx")) or _props_window(server, flavour))
    counts, adapters = flavour in ("llama.cpp", "vllm"), _adapters(server, flavour)
    facts = ServerFacts(model, flavour, window, billions, counts, known, adapters)
    if facts.counts:
        try:
            count(server, facts, "one two")
        except RemoteFailure:
            return replace(facts, counts=False)
    return facts


def count(server: RemoteServer, facts: ServerFacts, text: str) -> int:
    """Tokens of a text without special ones; an estimate that is rather too high where the server does not count.

    Raises:
        RemoteFailure: it used to count and does not now.
    """
    if not facts.counts:
        return estimated_tokens(text)
    body = {"content": text, "add_special": False} if facts.flavour == "llama.cpp" else _vllm_body(facts, text)
    reply = server.post(f"{server.root}/tokenize", body, CHECK_S)
    tokens = reply.get("tokens") if isinstance(reply, dict) else None
    if not isinstance(tokens, list):
        raise no_api(server.url, "")
    return len(tokens)


def model_rows(server: RemoteServer) -> list[dict[str, Any]]:
    """The rows of `/models`. Raises RemoteFailure."""
    reply = server.get(f"{server.url}/models", CHECK_S)
    rows = reply.get("data") if isinstance(reply, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        raise RemoteFailure("no api", f"{server.url!r} is no OpenAI-compatible server: /models has no list of models")
    return rows


def is_small(facts: ServerFacts | None) -> bool:
    """Whether its own wording is not to be trusted: by the catalogue, or by its size."""
    if facts is None:
        return False
    if facts.known is not None:
        return facts.known.small
    return 0 < facts.parameters < SMALL_BILLIONS


def _model_row(server: RemoteServer, name: str) -> dict[str, Any]:
    rows = model_rows(server)
    for row in rows:
        aliases = row.get("aliases")
        if name and (row["id"] == name or (isinstance(aliases, list) and name in aliases)):
            return {**row, "id": name}
    names = ", ".join(repr(row["id"]) for row in rows[:8]) or "none"
    if name:
        raise RemoteFailure("refused", f"{server.url!r} does not serve {name!r}; its models: {names}")
    if len(rows) != 1:
        raise RemoteFailure(
            "refused", f"{server.url!r} serves {len(rows)} models ({names}); set ALIOTH_MODELS__LLM_NAME"
        )
    return rows[0]


def _vllm_body(facts: ServerFacts, text: str) -> dict[str, Any]:
    return {"model": facts.model, "prompt": text, "add_special_tokens": False}


def _props_window(server: RemoteServer, flavour: Flavour) -> float:
    if flavour != "llama.cpp":
        return 0
    try:
        props = server.get(f"{server.root}/props", CHECK_S)
    except RemoteFailure:
        return 0
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    return _number(settings.get("n_ctx")) if isinstance(settings, dict) else 0


def _adapters(server: RemoteServer, flavour: Flavour) -> dict[str, ServerAdapter]:
    if flavour != "llama.cpp":
        return {}
    try:
        rows = server.get(f"{server.root}/lora-adapters", CHECK_S)
        return {PureWindowsPath(row["path"]).stem: ServerAdapter(int(row["id"]), float(row["scale"])) for row in rows}
    except (RemoteFailure, KeyError, TypeError, ValueError):
        return {}  # an older server, or another one that calls itself llama.cpp


def _in_catalogue(model: str) -> CatalogEntry | None:
    return find_entry(model, "llm")


def find_entry(model: str, role: str) -> CatalogEntry | None:
    """The entry of Alioth's catalogue that a name on another server means, by id, repository or file."""
    wanted = {model.lower(), PurePosixPath(model).name.lower()}
    for one in catalog().values():
        file = one.hub_file or PurePosixPath(one.source).name
        names: Sequence[str] = (one.id, one.repository, one.repository.rpartition("/")[2], file)
        if one.role == role and wanted & {name.lower() for name in names if name}:
            return one
    return None


def _billions_in(name: str) -> float:
    found = re.search(r"(?<![0-9a-z.])(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower())
    if not found:
        return 0.0
    return float(found[1]) / (1.0 if found[2] == "b" else 1000.0)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 < value < 1e15 else 0.0
