"""Changes the language model of a running models process: the new one loads while the old one goes on answering."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import ConflictError

if TYPE_CHECKING:
    from models.engine.llama import LlamaCppModel
    from models.serving.llm_record import LlmRecord
    from models.serving.service import Served

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedLlm:
    """A language model that is ready, with the pinned sha256 of its file."""

    model: LlamaCppModel
    sha256: str


class LlmSwap:
    """Owns the LLM of `served`. Thread-safe; one change at a time.

    Args:
        load: loads a model of the catalogue; its errors reach whoever asked, and the old model stays.
        former: ids under which clients that started earlier may still ask.
        record: remembers what is loaded and which model answered.
    """

    def __init__(
        self,
        served: Served,
        load: Callable[[str], LoadedLlm],
        former: frozenset[str] = frozenset(),
        record: LlmRecord | None = None,
    ) -> None:
        self._served = served
        self._record = record
        self._load = load
        self._current: LoadedLlm | None = None
        self._changing = threading.Lock()
        served.former_llms = former

    def start(self, model_id: str) -> LoadedLlm:
        """Load the first model; `serve` makes it answer."""
        self._current = self._loaded(model_id)
        return self._current

    def _loaded(self, model_id: str) -> LoadedLlm:
        if self._record is None:
            return self._load(model_id)
        self._record.loading(model_id)
        loaded = self._load(model_id)
        self._record.loaded(model_id)
        for note in loaded.model.notes:
            self._record.note(model_id, note)
        return loaded

    def serve(self) -> None:
        """Let the loaded model answer."""
        assert self._current is not None
        self._served.llm_sha256 = self._current.sha256
        self._served.llm_notes = self._current.model.notes
        self._served.llm = self._current.model

    def use(self, model_id: str) -> tuple[str, ...]:
        """Load that model and let it answer from now on, also what waits already; the notes of loading.

        The old one finishes the answer under way and frees its memory afterwards.

        Raises:
            ConflictError: another change is under way. NotFoundError, WeightsError, ModelError: it cannot be loaded;
                nothing changed.
        """
        if not self._changing.acquire(blocking=False):
            raise ConflictError("The language model is being changed already.", "Try again when that is done.")
        old = self._current
        try:
            if old is not None and old.model.info().id == model_id:
                self._changing.release()
                return old.model.notes
            new = self._loaded(model_id)
        except BaseException:
            if self._record is not None and old is not None:
                self._record.loaded(old.model.info().id)
            self._changing.release()
            raise
        self._current = new
        if old is not None:
            self._served.former_llms |= {old.model.info().id}
        self.serve()
        log.info("%s answers from now on", model_id)
        threading.Thread(target=self._retire, args=(old, new), name="llm-retire", daemon=True).start()
        return new.model.notes

    def _retire(self, old: LoadedLlm | None, new: LoadedLlm) -> None:
        try:
            if old is not None:
                old.model.hand_over(new.model)
                log.info("%s is gone from memory", old.model.info().id)
        finally:
            self._changing.release()

    def close(self) -> None:
        """Cancel everything and free the memory."""
        if self._current is not None:
            self._current.model.close()
