"""The models process: `python -m app.model_server`. Loads the LLM and embedders and serves them on one port."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from app.other_engines import is_remote, remote_embedder, remote_llm, serve_others
from core.errors import AliothError, InputError, NotFoundError
from core.log import configure_logging
from core.settings import Settings, load_settings
from models.engine.load_note import LoadNote
from models.serving.llm_record import LlmRecord, load_events

if TYPE_CHECKING:
    import uvicorn

    from models.queueing.lanes import ComputeGate
    from models.serving.service import Served, ServedEmbedder
    from models.serving.swap import LlmSwap, LoadedLlm

log = logging.getLogger(__name__)

_GRACE_S = 3


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Exit code 0 then, 1 when the models cannot be loaded or the port is taken."""
    options = _options(arguments)
    try:
        settings = load_settings()
        configure_logging(settings.log, settings.home / "logs", "models")
        return ModelServer(settings, options.host, options.port, options.ready_fd).run()
    except AliothError as error:
        print(error, file=sys.stderr)
        log.error("%s", error)
        return 1


class ModelServer:
    """One run of the process. The port answers /healthz before the models are loaded."""

    def __init__(self, settings: Settings, host: str | None, port: int | None, ready_fd: int | None) -> None:
        self._settings = settings
        self._host = host if host is not None else settings.models.host
        self._port = port if port is not None else settings.models.port
        self._ready_fd = ready_fd
        self._stop = threading.Event()
        self._loading = True
        self._record = LlmRecord(settings.home)

    def run(self) -> int:
        from models.serving.service import Served, serve

        token = self._settings.models.token.get_secret_value()
        served = Served()
        app = serve(served, token)
        bound = _bind(self._host, self._port)
        server = _uvicorn(app)
        self._watch_signals(server)
        thread = threading.Thread(target=server.run, args=([bound],), name="http", daemon=True)
        thread.start()
        try:
            swap = load(self._settings, served, self._record)
            self._loading = False
            self._announce(bound)
            while thread.is_alive() and not self._stop.is_set():
                thread.join(0.5)
            swap.close()  # open streams end as cancelled, so the server need not wait for them
        except _StoppedWhileLoading:
            log.info("stopped while loading")
        finally:
            self._record.ended()
            server.should_exit = True
            thread.join(_GRACE_S + 2)
        return 0 if self._stop.is_set() else 1

    def _watch_signals(self, server: uvicorn.Server) -> None:
        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.set()
            server.should_exit = True
            if self._loading:
                self._loading = False
                raise _StoppedWhileLoading

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)

    def _announce(self, bound: socket.socket) -> None:
        host, port = bound.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        log.info("ready at %s", url)
        if self._ready_fd is not None:
            with os.fdopen(self._ready_fd, "w", encoding="utf-8") as stream:
                stream.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")


class _StoppedWhileLoading(BaseException):
    pass


def load(settings: Settings, served: Served, record: LlmRecord) -> LlmSwap:
    """Load LLM and first embedder into `served`, which loads others on demand.

    The owner of the LLM is returned because it must be closed. A language model that failed twice in a row is passed
    over for the last one that answered.

    Raises:
        WeightsError: a file is missing or of another sha256 than pinned.
    """
    from models.embedding.cpu import physical_cores
    from models.embedding.embedders import Embedders
    from models.files import weights
    from models.files.chosen import former_llms
    from models.queueing.lanes import ComputeGate
    from models.serving.swap import LlmSwap

    chosen, home = settings.models, settings.home
    _require_role(settings)
    if not is_remote(chosen.embedder):
        weights.resolve(chosen.embedder, home)  # a missing file is told before the LLM is loaded
    record.begin()
    first = chosen.llm if is_remote(chosen.llm) else record.choose(chosen.llm)
    with _failures_of(first, record):
        if not is_remote(first):
            weights.resolve(first, home)
    threads, gate = chosen.threads or physical_cores(), ComputeGate()

    def embedder_of(model_id: str) -> ServedEmbedder:
        return _load_embedder(settings, served, model_id, threads, gate)

    def llm_of(model_id: str) -> LoadedLlm:
        return _load_llm(settings, model_id, threads, gate)

    embedder = embedder_of(chosen.embedder)
    swap = LlmSwap(served, llm_of, former_llms(home) | {chosen.llm}, record)
    with _failures_of(first, record):
        swap.start(first)
    served.others = Embedders(embedder_of)
    served.embedder, served.swap, served.watch = embedder, swap, record.watch
    swap.serve()
    serve_others(settings, served, threads, gate)
    if first != chosen.llm:
        newest = load_events(home)[0]
        served.llm_notes = (LoadNote(newest.text, newest.code, **newest.values), *served.llm_notes)
    return swap


@contextlib.contextmanager
def _failures_of(model_id: str, record: LlmRecord) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        record.failed(model_id, str(error))
        raise


def _load_llm(settings: Settings, model_id: str, threads: int, gate: ComputeGate) -> LoadedLlm:
    """Any language model of the catalogue.

    Raises:
        InputError: it is none. WeightsError, ModelError: see LlamaCppModel.
    """
    from models.engine.llama import LlamaCppModel
    from models.files import weights
    from models.files.catalog import entry
    from models.files.requantise import fast_copy
    from models.planning.plan_load import plan_load
    from models.queueing.limits import end_soon, limits_of
    from models.serving.swap import LoadedLlm

    chosen, home = settings.models, settings.home
    if chosen.llm_urls or is_remote(model_id):
        return remote_llm(settings, model_id)
    found = entry(model_id, home)
    if found.role != "llm":
        raise InputError(f"{model_id!r} is no language model but a {found.role}.", "`alioth models list` shows them.")
    file, sha256 = weights.resolve(found.id, home), weights.weights_sha256(found.id, home)
    if chosen.requantise and found.requantise:
        file = fast_copy(file, sha256, home, threads)
    made = plan_load(file, settings, threads, window=min(chosen.context_tokens, found.window))
    model = LlamaCppModel(
        file,
        found,
        made.options,
        gate=gate,
        adapters=home / "models" / "adapters",
        limits=limits_of(chosen),
        on_death=end_soon,
    )
    model.notes = (*made.notes, *model.notes)
    return LoadedLlm(model, sha256)


def _load_embedder(
    settings: Settings, served: Served, model_id: str, threads: int, gate: ComputeGate
) -> ServedEmbedder:
    """Any embedder of the catalogue. All share one gate, so that two never compute at once."""
    from models.embedding.sentence_transformer import SentenceTransformerEmbedder
    from models.files import weights
    from models.files.catalog import entry

    if is_remote(model_id):
        return remote_embedder(settings, served, model_id)
    found = entry(model_id, settings.home)
    if found.role != "embedder":
        raise NotFoundError(f"{model_id!r} is no embedder but a {found.role}.", "`alioth models list` shows them.")
    served.languages[found.id] = found.languages
    return SentenceTransformerEmbedder(
        weights.resolve(found.id, settings.home),
        found,
        weights.weights_sha256(found.id, settings.home),
        threads=threads,
        device=settings.models.device,
        dtype=settings.models.dtype,
        gate=gate,
    )


def _require_role(settings: Settings) -> None:
    from models.files.catalog import entry

    chosen = settings.models
    for variable, model_id, role in (("LLM", chosen.llm, "llm"), ("EMBEDDER", chosen.embedder, "embedder")):
        if is_remote(model_id):
            continue
        actual = entry(model_id, settings.home).role
        if actual != role:
            raise InputError(
                f"ALIOTH_MODELS__{variable} is {model_id!r}, which is a {actual}.",
                "`alioth models list` shows the roles.",
            )


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        raise InputError(
            f"Cannot listen on '{host}:{port}': {error.strerror or error}.", "Choose another ALIOTH_MODELS__PORT."
        ) from error
    bound.listen(256)
    return bound


def _uvicorn(app: Any) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,  # uvicorn's own would put handlers on stderr beside our file
        timeout_graceful_shutdown=_GRACE_S,
        lifespan="off",
        server_header=False,
        ws="none",
    )
    return uvicorn.Server(config)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.model_server", description=__doc__)
    parser.add_argument("--host", help="address to listen on; default ALIOTH_MODELS__HOST")
    parser.add_argument("--port", type=int, help="port; 0 takes a free one; default ALIOTH_MODELS__PORT")
    parser.add_argument("--ready-fd", type=int, help="file descriptor that gets {url, pid} as JSON when loaded")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
