"""Models that other servers compute, and the reranker: built from the settings for the models process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from core.errors import AliothError, ConflictError, InputError, NotFoundError
from core.settings import REMOTE, ModelSettings, Settings

if TYPE_CHECKING:
    from models.queueing.lanes import ComputeGate
    from models.serving.rerank_service import ServedReranker
    from models.serving.service import Served, ServedEmbedder
    from models.serving.swap import LoadedLlm

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Destination:
    """Where texts of a role go. reach: see core.addresses.reach."""

    role: str
    url: str
    reach: str


def is_remote(model_id: str) -> bool:
    """Whether the id names a model on another server."""
    return model_id == REMOTE or model_id.startswith(f"{REMOTE}:")


def remote_llm(settings: Settings, model_id: str) -> LoadedLlm:
    """The language model of ALIOTH_MODELS__LLM_URLS.

    Raises:
        ConflictError: another model is asked for while those addresses are set.
    """
    from models.queueing.limits import limits_of
    from models.remote.llm import RemoteLanguageModel, RemoteLlmOptions
    from models.serving.swap import LoadedLlm

    chosen = settings.models
    if model_id != chosen.llm:
        raise ConflictError(
            "ALIOTH_MODELS__LLM_URLS names the servers that answer, so that no model here does.",
            "Unset it to use a model of the catalogue.",
        )
    options = RemoteLlmOptions(
        id=chosen.llm,
        name=chosen.llm_name,
        window=chosen.llm_window,
        languages=tuple(chosen.llm_languages.split(",")) if chosen.llm_languages else (),
        small=None if chosen.llm_size == "auto" else chosen.llm_size == "small",
        at_once=chosen.llm_concurrency,
        timeout_s=chosen.llm_timeout_s,
        extra=json.loads(chosen.llm_extra) if chosen.llm_extra else {},
        limits=limits_of(chosen),
    )
    model = RemoteLanguageModel(chosen.llm_urls.split(","), chosen.llm_key.get_secret_value(), options)
    return LoadedLlm(cast(Any, model), "")  # it has all of LlamaCppModel that a swap needs, and is never swapped


def remote_embedder(settings: Settings, served: Served, model_id: str) -> ServedEmbedder:
    """The embedder of ALIOTH_MODELS__EMBEDDER_URLS.

    Raises:
        NotFoundError: those servers have another one, or none are set.
    """
    from models.remote.embedder import RemoteEmbedder

    chosen = settings.models
    if not chosen.embedder_urls or model_id != f"{REMOTE}:{chosen.embedder_name}":
        raise NotFoundError(
            f"No server is set for the embedder {model_id!r}.",
            "Set ALIOTH_MODELS__EMBEDDER_URLS and ALIOTH_MODELS__EMBEDDER_NAME as they were.",
        )
    key = chosen.embedder_key.get_secret_value()
    embedder = RemoteEmbedder(chosen.embedder_urls.split(","), key, model_id, chosen.embedder_name, settings.home)
    served.languages[model_id] = embedder.languages
    return embedder


def serve_others(settings: Settings, served: Served, threads: int, gate: ComputeGate) -> None:
    """Make ready what stands beside LLM and first embedder: the reranker, and an embedder on other servers."""
    from models.files.catalog import catalog

    chosen = settings.models
    if chosen.llm_urls:  # clients that were not told ask by the id of a model here
        served.former_llms |= {one.id for one in catalog(settings.home).values() if one.role == "llm"}
    if chosen.embedder_urls and not is_remote(chosen.embedder) and served.others is not None:
        served.others.get(f"{REMOTE}:{chosen.embedder_name}")
    if chosen.reranker:
        try:
            served.shelf.load(lambda: _reranker(settings, threads, gate))
        except AliothError as error:
            log.error("answering without a reranker: %s", error)


def _reranker(settings: Settings, threads: int, gate: ComputeGate) -> ServedReranker:
    """Of the settings; WeightsError, NotFoundError or InputError when it cannot be loaded."""
    from models.files import weights
    from models.files.catalog import entry

    chosen = settings.models
    if is_remote(chosen.reranker):
        from models.remote.reranker import RemoteReranker

        key = chosen.reranker_key.get_secret_value()
        return RemoteReranker(chosen.reranker_urls.split(","), key, chosen.reranker, chosen.reranker_name)
    from models.embedding.cross_encoder import CrossEncoderReranker

    found = entry(chosen.reranker, settings.home)
    if found.role != "reranker":
        raise InputError(
            f"ALIOTH_MODELS__RERANKER is {found.id!r}, which is a {found.role}.", "`alioth models list` shows them."
        )
    folder = weights.resolve(found.id, settings.home)
    return CrossEncoderReranker(folder, found, threads=threads, device=chosen.device, gate=gate)


def destinations(settings: ModelSettings) -> Iterator[Destination]:
    """Every other server that texts go to, and whether it lies inside the house now; asks the name server."""
    from core.addresses import reach

    for role, urls in (
        ("questions and passages", settings.llm_urls),
        ("all text that is read in, and questions", settings.embedder_urls),
        ("questions and passages, to be ranked,", settings.reranker_urls),
    ):
        for url in urls.split(",") if urls else ():
            yield Destination(role, url, reach(url))
