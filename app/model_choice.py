"""Using, checking and removing models, for the command line and the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import AliothError, ConflictError, InputError

if TYPE_CHECKING:
    from app.wiring import Alioth
    from models.files.catalog import CatalogEntry
    from models.planning.fits import Fit


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the catalogue as people see it. size_bytes: of its files here, else by the catalogue, 0 unknown."""

    entry: CatalogEntry
    present: bool
    pinned: bool
    in_use: bool
    fits: Fit
    size_bytes: int


def model_rows(alioth: Alioth) -> list[ModelRow]:
    """The catalogue with what is present, pinned, in use, and what fits this machine now."""
    from models.files.catalog import catalog, location
    from models.files.weights import pins_of
    from models.planning.fits import fit_of
    from models.planning.machine import this_machine

    home, machine = alioth.settings.home, this_machine(alioth.settings.home)
    used = models_in_use(alioth)
    rows = []
    for found in catalog(home).values():
        path = location(found, home)
        present = path.exists()
        size = _size(path) if present else found.size_bytes
        pinned = bool(found.sha256 or pins_of(found, home))
        rows.append(ModelRow(found, present, pinned, found.id in used, fit_of(found, home, machine), size))
    return rows


def models_in_use(alioth: Alioth) -> dict[str, str]:
    """Id to role: what answers now, or will, and what embeds and reranks by the settings."""
    chosen = alioth.settings.models
    llm = str(running_llm(alioth).get("id") or chosen.llm)
    return {chosen.embedder: "embedder", llm: "llm", **({chosen.reranker: "reranker"} if chosen.reranker else {})}


def running_llm(alioth: Alioth) -> dict[str, Any]:
    """What the models process says of its language model; empty where none runs. Starts nothing."""
    try:
        if alioth.is_there("models"):
            return next((row for row in alioth.models.models() if row.get("role") == "llm"), {})
    except AliothError:
        pass  # it went away this moment
    return {}


def queue_figures(alioth: Alioth) -> dict[str, Any]:
    """Who waits and what runs, by the models process; empty where none runs or it does not tell."""
    try:
        if alioth.is_there("models"):
            with alioth.models.errors():
                reply: Any = alioth.models.openai().get("/queue", cast_to=object)
            return dict(reply) if isinstance(reply, dict) else {}
    except AliothError:
        pass
    return {}


def use_model(alioth: Alioth, model: str) -> tuple[bool, list[str]]:
    """Make it the language model from now on; whether a process runs that changed at once, and what did not fit.

    Raises:
        InputError: it is no language model. ConflictError: the environment names one.
        NotFoundError, WeightsError, ModelError: it cannot be loaded; nothing changed.
    """
    from core.settings import llm_is_set
    from models.files import weights
    from models.files.catalog import entry
    from models.files.chosen import choose_llm
    from models.files.gguf import read_header, require_language_model
    from models.serving.llm_record import forgive

    settings = alioth.settings
    found = entry(model, settings.home)
    if found.role != "llm":
        raise InputError(
            f"{model!r} is no language model; its role is {found.role!r}.", "`alioth models list` shows the roles."
        )
    if llm_is_set():
        raise ConflictError(
            f"ALIOTH_MODELS__LLM is set to {settings.models.llm!r} and goes before every choice.",
            "Change that variable, or unset it and use this command.",
        )
    if settings.models.llm_urls:
        raise ConflictError(
            f"ALIOTH_MODELS__LLM_URLS names {settings.models.llm_urls!r}, whose model answers.",
            "Unset that variable to use a model on this machine.",
        )
    require_language_model(read_header(weights.resolve(found.id, settings.home)))
    forgive(found.id, settings.home)
    running = alioth.is_there("models")
    notes = alioth.models.use(model) if running else []
    choose_llm(model, settings.models.llm, settings.home)
    return running, notes


def remove_model(alioth: Alioth, model: str) -> int:
    """Delete a model's files, pins and own entry; the bytes that became free.

    Raises:
        ConflictError: it is in use, or bundled. NotFoundError: no such id, or no files.
    """
    from models.files.store import remove_model as remove

    return remove(model, alioth.settings.home, users_of_models(alioth))


def verify_model(alioth: Alioth, model: str) -> str:
    """Hash the files again; where they are.

    Raises:
        WeightsError: one is missing, not pinned, or another one. NotFoundError: no such id.
    """
    from models.files.weights import forget_verified, resolve

    forget_verified(alioth.settings.home)
    return str(resolve(model, alioth.settings.home))


def users_of_models(alioth: Alioth) -> dict[str, str]:
    """Model id to who uses it: the settings, and every collection, also those that are being built or kept."""
    settings = alioth.settings.models
    users: dict[str, str] = {}
    for collection in alioth.collections.list():
        for one in [collection, *alioth.collections.hidden(collection.id)]:
            users[one.fingerprint.embedder_id] = f"the collection '{collection.name}' was embedded with it"
    if settings.reranker:
        users[settings.reranker] = "it is the reranker"
    users[settings.embedder] = "it is the embedder of new collections"
    users[settings.llm] = "it answers the questions"
    running = running_llm(alioth).get("id")
    if running:
        users[str(running)] = "it answers the questions"
    return users


def _size(path: Any) -> int:
    if path.is_file():
        return int(path.stat().st_size)
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
