"""Is everything in order: `alioth doctor`, and the consistency of the indexes."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from app.other_engines import destinations, is_remote
from core.errors import AliothError
from core.types import Collection

if TYPE_CHECKING:
    from app.wiring import Alioth
    from storage.consistency import Finding


@dataclass(frozen=True)
class Check:
    """One line of `alioth doctor`."""

    name: str
    ok: bool
    detail: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def index_findings(alioth: Alioth, collections: Sequence[Collection]) -> list[Finding]:
    """Every difference between SQL, Chroma and the keyword index, also of indexes that are being built or kept."""
    from storage.consistency import verify

    return [
        finding
        for collection in _with_hidden(alioth, collections)
        for finding in verify(collection, alioth.db, alioth.vectors, alioth.keyword, alioth.files)
    ]


def rebuild_indexes(
    alioth: Alioth, collections: Sequence[Collection], *, vectors: bool, keyword: bool
) -> list[dict[str, Any]]:
    """Build indexes again from SQL; one row of counts per collection."""
    from storage.consistency import rebuild_keyword, rebuild_vectors

    return [
        {
            "collection": collection.name,
            "vectors": rebuild_vectors(collection, alioth.db, alioth.vectors) if vectors else None,
            "keyword": rebuild_keyword(collection, alioth.keyword) if keyword else None,
        }
        for collection in _with_hidden(alioth, collections)
    ]


def _with_hidden(alioth: Alioth, collections: Sequence[Collection]) -> Iterator[Collection]:
    for collection in collections:
        yield collection
        yield from alioth.collections.hidden(collection.id)


def doctor(alioth: Alioth) -> list[Check]:
    """All checks, in the order in which things depend on each other."""
    return [_guarded(name, examine, alioth) for name, examine in _CHECKS]


def _guarded(name: str, examine: Callable[[Alioth], str], alioth: Alioth) -> Check:
    try:
        return Check(name, True, examine(alioth))
    except AliothError as error:
        return Check(name, False, str(error))


def _python(alioth: Alioth) -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"


def _packages(alioth: Alioth) -> str:
    from importlib.metadata import version

    names = ("alioth", "chromadb", "langchain", "llama-cpp-python", "sentence-transformers", "sqlalchemy", "streamlit")
    return ", ".join(f"{name} {version(name)}" for name in names)


def _machine(alioth: Alioth) -> str:
    from models.embedding.cpu import has_fast_bfloat16, physical_cores

    free = shutil.disk_usage(alioth.settings.home).free / 1e9
    fast = "with" if has_fast_bfloat16() else "without"
    card = "an NVIDIA card" if shutil.which("nvidia-smi") else "no NVIDIA card"
    return f"{physical_cores()} cores {fast} fast bfloat16, {card}, {free:.0f} GB free for data"


def _database(alioth: Alioth) -> str:
    from storage.migrate import known_revisions

    return f"{alioth.db.dialect}, revision {known_revisions()[-1]}, {alioth.documents.pending()} documents in work"


def _model(role: str) -> Callable[[Alioth], str]:
    def examine(alioth: Alioth) -> str:
        from models.files.weights import resolve

        name = getattr(alioth.settings.models, role)
        if is_remote(name):
            return f"{name}: {getattr(alioth.settings.models, f'{role}_urls') or 'the models process knows where'}"
        return f"{name}: {resolve(name, alioth.settings.home)}"

    return examine


def _models_process(alioth: Alioth) -> str:
    info = alioth.llm.info()
    notes = [f"; {note}" for row in alioth.models.models() for note in row.get("notes") or []]
    return (
        f"{info.id} reads {info.reading_rate:.0f} tokens/s, window {info.window}; "
        f"{alioth.embedder.id} gives {alioth.embedder.embed_query('ready?').shape[0]} dimensions{''.join(notes)}"
    )


def _other_servers(alioth: Alioth) -> str:
    """Which text goes to which other server, as this process is set."""
    found = list(destinations(alioth.settings.models))
    if not found:
        return "none: nothing leaves this machine's own processes"
    where = {
        "this machine": "on this machine",
        "inside": "inside this network",
        "outside": "OUTSIDE THIS NETWORK",
        "unknown": "at a name that cannot be looked up now",
    }
    return "; ".join(f"{one.role} go to {one.url}, {where[one.reach]}" for one in found)


def _chroma(alioth: Alioth) -> str:
    alioth.vectors.ping()
    return f"{alioth.chroma_url()}, {len(alioth.vectors.keys())} collections"


def _indexes(alioth: Alioth) -> str:
    collections = alioth.collections.list()
    findings = index_findings(alioth, collections)
    if findings:
        raise AliothError(
            "; ".join(f"{f.collection}: {f.detail}" for f in findings[:5]), "Repair with `alioth index rebuild`."
        )
    return f"{len(collections)} collections, {sum(c.chunks for c in collections)} chunks, no difference"


def _checks() -> Iterator[tuple[str, Callable[[Alioth], str]]]:
    yield "python", _python
    yield "packages", _packages
    yield "machine", _machine
    yield "database", _database
    yield "language model", _model("llm")
    yield "embedder", _model("embedder")
    yield "models process", _models_process
    yield "other servers", _other_servers
    yield "chroma", _chroma
    yield "indexes", _indexes


_CHECKS = tuple(_checks())
