"""What models there are: ids, roles, languages, windows, prefixes, licences and pins, from `catalog.toml`.

An administrator's own models stand in `ALIOTH_HOME/models/catalog.toml`, in the same form.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from core.errors import NotFoundError, SettingsError

OWN = Path("models", "catalog.toml")
"""Of the administrator, under ALIOTH_HOME."""

ModelRole = Literal["llm", "embedder", "reranker"]
Template = Literal["chatml", "llama3", "gemma", "glm4"]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model by name.

    source: `package:<import name>/<path>` or `home:<path under home/models>`. sha256: of the file, or of the weights
    file of a folder; empty when the administrator has to pin it. files: sha256 of every file of a pinned folder.
    window: tokens. dimension: of embeddings, else 0. answer_prefix: put in the model's mouth before each answer.
    size_bytes: 0 where it is not known. small: wording not to be trusted unchecked. requantise: a Q8_0 copy is faster.
    repository, hub_file: where `alioth models pull` gets it; hub_file is empty for a folder. parameters: billions.
    template: how prompts are written, see models/chatml.py; ours is used, never the one inside a file.
    thinking: how a model that can think aloud is kept from it; empty for those that cannot.
    """

    id: str
    role: ModelRole
    kind: Literal["gguf", "sentence_transformers", "cross_encoder"]
    source: str
    languages: tuple[str, ...]
    window: int
    licence: str
    homepage: str = ""
    sha256: str = ""
    size_bytes: int = 0
    dimension: int = 0
    query_prefix: str = ""
    document_prefix: str = ""
    answer_prefix: str = ""
    bundled: bool = False
    small: bool = False
    requantise: bool = False
    repository: str = ""
    hub_file: str = ""
    parameters: float = 0.0
    template: Template = "chatml"
    thinking: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def catalog(home: Path | None = None) -> dict[str, CatalogEntry]:
    """All entries by id, in the order of the file; with `home`, the administrator's own after them.

    Raises:
        SettingsError: the administrator's file breaks a rule.
    """
    if home is None:
        return _shipped()
    own = home / OWN
    try:
        stat = own.stat()
    except OSError:
        return _shipped()
    return _shipped() | _own(own, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _shipped() -> dict[str, CatalogEntry]:
    text = files("models").joinpath("catalog.toml").read_text(encoding="utf-8")
    entries = [_entry(row) for row in tomllib.loads(text)["model"]]
    return {entry.id: entry for entry in entries}


@functools.lru_cache(maxsize=8)
def _own(file: Path, mtime_ns: int, size: int) -> dict[str, CatalogEntry]:
    try:
        rows = tomllib.loads(file.read_text(encoding="utf-8")).get("model", [])
        entries = [_entry(row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SettingsError(
            f"Cannot read the catalogue '{file}': {error}.",
            "It is TOML with a [[model]] table per model, in the form of the catalogue that Alioth ships.",
        ) from error
    for one in entries:
        _require_usable(one, file)
    return {one.id: one for one in entries}


def _require_usable(one: CatalogEntry, file: Path) -> None:
    kinds = {"llm": "gguf", "embedder": "sentence_transformers", "reranker": "cross_encoder"}
    inside = PurePosixPath(one.source.removeprefix("home:"))
    rules = (
        (one.id not in _shipped(), "its id is one that Alioth ships; choose another"),
        (one.source.startswith("home:"), "its source must be home:<path>"),
        (not inside.is_absolute() and ".." not in inside.parts, "its source must stay under ALIOTH_HOME/models"),
        (not one.bundled, "only models that Alioth ships are bundled"),
        (kinds.get(one.role) == one.kind, f"role and kind must be one of {kinds}"),
        (one.window > 0, "its window must be over 0 tokens"),
        (one.template in get_args(Template), f"its template must be one of {', '.join(get_args(Template))}"),
        ((one.dimension > 0) == (one.role == "embedder"), "an embedder, and nothing else, has a dimension"),
    )
    for kept, rule in rules:
        if not kept:
            raise SettingsError(f"The catalogue '{file}' has a wrong entry {one.id!r}: {rule}.", "Correct the file.")


def entry(model_id: str, home: Path | None = None) -> CatalogEntry:
    """The entry of that id.

    Raises:
        NotFoundError: the catalogue has no such id. SettingsError: see `catalog`.
    """
    known_ids = catalog(home)
    found = known_ids.get(model_id)
    if found is not None:
        return found
    near = difflib.get_close_matches(model_id, known_ids, n=1)
    known = f"Did you mean {near[0]!r}?" if near else "`alioth models list` shows the ids."
    raise NotFoundError(f"No model {model_id!r} in the catalogue.", known)


def location(found: CatalogEntry, home: Path) -> Path:
    """Where the files of a model are or would be; for a package without running a line of its code.

    Raises:
        WeightsError: the package of a bundled model is not installed.
    """
    from importlib.util import find_spec

    from core.errors import WeightsError

    scheme, _, rest = found.source.partition(":")
    if scheme == "home":
        return home / "models" / rest
    package, _, inside = rest.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise WeightsError(
            f"The weights of {found.id!r} are missing: the package {package.replace('_', '-')!r} is not installed.",
            "Run `make setup`.",
        )
    return Path(next(iter(spec.submodule_search_locations))) / inside


def _entry(row: dict[str, Any]) -> CatalogEntry:
    return CatalogEntry(**{**row, "languages": tuple(row["languages"])})
