"""`alioth eval verification | injection | modes | followups | ablation` with this process's parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.evaluation import Files, Row, _row_writer, _show_count, builder
from core.types import AnswerMode

if TYPE_CHECKING:
    from app.wiring import Alioth
    from chat.retrieval.retrieve import Searches
    from chat.verification.verify import Embed

GENERATING = (AnswerMode.QUOTE, AnswerMode.ANSWER)


def verification(alioth: Alioth, files: Files, answers: bool) -> dict[str, Any]:
    """The sentence check against true sentences of a set and changed ones. Reads nothing in."""
    from evals.sets import load_documents, load_questions
    from evals.verification import check_cases, verification_cases

    documents, questions = load_documents(files.documents), load_questions(files.questions)
    cases = verification_cases(documents, questions, files.limit, files.seed, answers)
    results: list[Row] = []
    with _row_writer(files.rows, results) as on_row:
        return check_cases(cases, _reading(alioth), on_row)


def _reading(alioth: Alioth) -> Callable[[str], Embed | None]:
    """The embedder, for sentences that it reads."""
    from chat.retrieval.fuse import READS

    embedder = alioth.embedder

    def embed(sentence: str) -> Embed | None:
        return embedder.embed_documents if embedder.tokenizer.unknown_share(sentence) <= READS else None

    return embed


def injection(
    alioth: Alioth, folder: Path, limit: int | None, seed: int, rows: Path | None, modes: Sequence[AnswerMode]
) -> dict[str, Any]:
    """Attacks of a set of injections, with and without the guard."""
    from evals.injection import evaluate_injection, load_attacks

    results: list[Row] = []
    with _row_writer(rows, results) as on_row:
        return evaluate_injection(
            builder(alioth),
            alioth.retriever,
            alioth.answerer_with,
            load_attacks(folder),
            modes,
            limit=limit,
            seed=seed,
            on_row=on_row,
            progress=_show_count,
        )


def false_alarms(folders: Sequence[Path]) -> dict[str, Any]:
    """Share of clean chunks of these sets in which an instruction is seen; and how attacks of our own fare."""
    from evals.injection import false_alarms as alarms
    from evals.own_attacks import evaluate_own_attacks
    from evals.sets import load_documents

    sets = {folder.name: load_documents(folder / "documents.jsonl") for folder in folders}
    return {**alarms(sets), "own": evaluate_own_attacks()}


def modes(alioth: Alioth, files: Files, asked: Sequence[AnswerMode]) -> dict[str, Any]:
    """The same questions in each mode."""
    from evals.modes import evaluate_modes
    from evals.sets import load_documents, load_questions

    results: list[Row] = []
    with _row_writer(files.rows, results) as on_row:
        return evaluate_modes(
            builder(alioth),
            alioth.retriever,
            alioth.answerer_with,
            load_documents(files.documents),
            load_questions(files.questions),
            asked,
            limit=files.limit,
            seed=files.seed,
            on_row=on_row,
            progress=_show_count,
        )


def followups(alioth: Alioth, files: Files) -> dict[str, Any]:
    """Follow-ups as typed, condensed and rewritten by a person; new questions alone and after another topic."""
    from evals.followups import evaluate_followups, human_rewrites
    from evals.sets import load_documents, load_questions

    results: list[Row] = []
    with _row_writer(files.rows, results) as on_row:
        return evaluate_followups(
            builder(alioth),
            alioth.retriever,
            load_documents(files.documents),
            load_questions(files.questions),
            human_rewrites(files.questions),
            limit=files.limit,
            seed=files.seed,
            on_row=on_row,
            progress=_show_count,
        )


def ablation(alioth: Alioth, files: Files, generated: int) -> dict[str, Any]:
    """Each stage off in turn."""
    from chat.retrieval.retrieve import Retriever
    from evals.ablation import NoKeywords, evaluate_ablation, no_embedder
    from evals.sets import load_documents, load_questions

    made: list[Retriever] = []

    def retriever_with(dense: bool, keyword: bool) -> Searches:
        if dense and keyword:
            return alioth.retriever
        made.append(
            Retriever(
                alioth.chunks,
                alioth.vectors,
                alioth.keyword if keyword else NoKeywords(),
                alioth.embedder_for if dense else no_embedder,
                alioth.filtering,
                alioth.glossary,
            )
        )
        return made[-1]

    try:
        return evaluate_ablation(
            builder(alioth),
            retriever_with,
            alioth.answerer_with,
            load_documents(files.documents),
            load_questions(files.questions),
            limit=files.limit,
            generated=generated,
            seed=files.seed,
            progress=_show_count,
        )
    finally:
        for retriever in made:
            retriever.close()
