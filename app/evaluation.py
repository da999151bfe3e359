"""`alioth eval` with this process's parts."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.types import AnswerMode

if TYPE_CHECKING:
    from app.wiring import Alioth
    from chat.answer import Answerer
    from chat.retrieve import Searches
    from evals.corpus import CorpusBuilder


def evaluate_retrieval(
    alioth: Alioth, documents: Path, questions: Path, limit: int | None, seed: int, rows: Path | None
) -> dict[str, Any]:
    """The report of `alioth eval retrieval`."""
    from evals import retrieval
    from evals.sets import load_documents, load_questions

    with _row_writer(rows) as on_row:
        return retrieval.evaluate_retrieval(
            builder(alioth),
            alioth.retriever,
            load_documents(documents),
            load_questions(questions),
            limit=limit,
            seed=seed,
            on_row=on_row,
            progress=_show_count,
        )


def evaluate_answers(
    alioth: Alioth,
    documents: Path,
    questions: Path,
    limit: int | None,
    seed: int,
    rows: Path | None,
    mode: AnswerMode,
) -> dict[str, Any]:
    """The report of `alioth eval answers`."""
    from chat.answer import Answerer
    from evals import answers
    from evals.sets import load_documents, load_questions

    def answerer_with(retriever: Searches) -> Answerer:
        return Answerer(alioth.settings.chat, retriever, alioth.chunks, alioth.llm)

    with _row_writer(rows) as on_row:
        return answers.evaluate_answers(
            builder(alioth),
            alioth.retriever,
            answerer_with,
            load_documents(documents),
            load_questions(questions),
            limit=limit,
            seed=seed,
            mode=mode,
            on_row=on_row,
            progress=_show_count,
        )


def builder(alioth: Alioth) -> CorpusBuilder:
    """Makes temporary collections through this process's parts."""
    from evals.corpus import CorpusBuilder

    return CorpusBuilder(alioth.create_collection, alioth.collections, alioth.documents, alioth.intake, alioth.pipeline)


@contextlib.contextmanager
def _row_writer(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"Cannot write '{path}': {error.strerror}.", "Give --rows a file in a folder that exists."
        ) from error
    with file:

        def write(row: dict[str, Any]) -> None:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


def _show_count(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done} of {total} questions" + ("\n" if done == total else ""))
        sys.stderr.flush()
