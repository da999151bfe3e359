"""What models there are: ids, roles, languages, windows, prefixes, licences and pins, from `catalog.toml`."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from core.errors import NotFoundError

ModelRole = Literal["llm", "embedder", "reranker"]


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One model by name.

    source: `package:<import name>/<path>` or `home:<path under home/models>`. sha256: of the file, or of the weights
    file of a folder; empty when the administrator has to pin it. files: sha256 of every file of a pinned folder.
    window: tokens. dimension: of embeddings, else 0. answer_prefix: put in the model's mouth before each answer.
    size_bytes: 0 where it is not known. small: wording not to be trusted unchecked. requantise: a Q8_0 copy is faster.
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
    files: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def catalog() -> dict[str, CatalogEntry]:
    """All entries by id, in the order of the file."""
    text = files("models").joinpath("catalog.toml").read_text(encoding="utf-8")
    entries = [_entry(row) for row in tomllib.loads(text)["model"]]
    return {entry.id: entry for entry in entries}


def entry(model_id: str) -> CatalogEntry:
    """The entry of that id.

    Raises:
        NotFoundError: the catalogue has no such id.
    """
    found = catalog().get(model_id)
    if found is not None:
        return found
    near = difflib.get_close_matches(model_id, catalog(), n=1)
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
