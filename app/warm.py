"""Do before the first question what it would otherwise wait for: imports, dictionaries, connections."""

from __future__ import annotations

import logging
import threading

from app.wiring import Alioth

log = logging.getLogger(__name__)

_QUESTION = "知识库 warm up"
_LOOK_S = 0.5
_WAIT_S = 300.0


def warm(alioth: Alioth) -> None:
    """Search once, in both languages, and generate one token: seconds of processor time in a fresh process.

    Needs the models and Chroma. The search is in one collection and nobody sees it.

    Raises:
        AliothError: something that a question needs is away.
    """
    from models.protocols import GenerationSettings, Message

    alioth.retriever.retrieve(_QUESTION, alioth.collections.list()[:1], 1)
    _ = alioth.answerer
    alioth.llm.count_tokens([_QUESTION])
    for _ in alioth.llm.stream([Message("user", _QUESTION)], GenerationSettings(max_tokens=1)):
        pass


def warm_when_ready(alioth: Alioth, stop: threading.Event) -> threading.Thread:
    """Warm in the background once the other processes are there. Nothing depends on whether it works."""

    def run() -> None:
        for _ in range(int(_WAIT_S / _LOOK_S)):
            if is_ready(alioth):
                break
            if stop.wait(_LOOK_S):
                return
        else:
            return  # nothing is started for this alone
        try:
            warm(alioth)
        except Exception as error:  # the first question says it to a person
            log.info("not warmed: %s", error)

    thread = threading.Thread(target=run, name="warm", daemon=True)
    thread.start()
    return thread


def is_ready(alioth: Alioth) -> bool:
    """Whether Chroma is there and the models are loaded; starts neither."""
    if not (alioth.is_there("chroma") and alioth.is_there("models")):
        return False
    try:
        return bool(alioth.models.health()["ready"])
    except Exception:  # not there yet, in whatever way
        return False
