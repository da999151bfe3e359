"""Runner: each stage off in turn; what it does to retrieval and answers says whether it earns its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import chat.context
import chat.support
from chat.retrieval import fuse, refuse, retrieve
from chat.retrieval.retrieve import Searches
from chat.verification.verify import sentences_of
from core.errors import ModelUnavailableError
from core.types import AnswerMode, Collection, ScoredChunk, SentenceCheck, Verdict
from evals import answers, retrieval
from evals.answers import Answers
from evals.corpus import CorpusBuilder
from evals.retrieval import Progress
from evals.scoped import PassingRetriever
from evals.sets import EvalDocument, EvalQuestion, sample
from models.protocols import Embedder
from storage import keyword_entries

Swap = tuple[object, str, object]
"""Module or class, name in it, what stands there while the stage is off."""
NOTICEABLE = 0.005
"""A stage whose loss moves no figure of any set by this much in the right direction is named."""
LESS_IS_BETTER = frozenset({"false_refusals"})


@dataclass(frozen=True, slots=True)
class Stage:
    """A part that can be left out.

    swaps: what stands in its place. wrap: a retriever without it. dense, keyword: whether these searches run.
    reads: the documents are read in anew without it. mode: of the answers that show what it does.
    """

    name: str
    swaps: tuple[Swap, ...] = ()
    wrap: Callable[[Searches], Searches] | None = None
    dense: bool = True
    keyword: bool = True
    reads: bool = False
    mode: AnswerMode = AnswerMode.QUOTE


class WithoutReading(PassingRetriever):
    """A retriever whose embedder chooses no quotes."""

    def reading_embedder(self, collection: Collection, text: str) -> Embedder | None:
        """None: nothing is compared."""
        return None


class NoKeywords:
    """A keyword index in which nothing is found."""

    def search(self, *_: object, **__: object) -> list[tuple[int, float]]:
        """Nothing."""
        return []


def no_embedder(collection: Collection) -> Embedder:
    """In place of `Alioth.embedder_for`: the embedder is away, so that keywords alone rank.

    Raises:
        ModelUnavailableError: always.
    """
    raise ModelUnavailableError("The embedder is left out of this run.", "")


def _first(ranked: Sequence[ScoredChunk], k: int) -> tuple[list[ScoredChunk], dict[int, int]]:
    return list(ranked[:k]), {}


def _unchecked(text: str, sources: object, embed: object = None) -> list[SentenceCheck]:
    return [SentenceCheck(s.text, Verdict.SUPPORTED, "", s.start, s.end, s.cited) for s in sentences_of(text)]


STAGES = (
    Stage("dense search", dense=False),
    Stage("keyword search", keyword=False),
    Stage("fusion weights (equal instead)", ((retrieve, "dense_share", lambda unknown: 0.5),)),
    Stage("rarity among candidates", ((fuse, "AMONG_SHARE", 0.0),)),
    Stage("exact terms", ((retrieve, "EXACT_WEIGHTS", dict.fromkeys(fuse.EXACT_WEIGHTS, 0.0)),)),
    Stage("titles and headings in keyword search", ((keyword_entries, "segmented", lambda text: ""),), reads=True),
    Stage("duplicate suppression", ((retrieve, "without_repeats", _first),)),
    Stage("refusal by evidence", ((refuse.Evidence, "too_little", property(lambda self: self.results == 0)),)),
    Stage("subjects", ((retrieve, "subjects_of", lambda query: ()),)),
    Stage("quotes by similarity", wrap=WithoutReading),
    Stage("neighbour expansion", ((chat.context, "NEIGHBOURS", 0),), mode=AnswerMode.ANSWER),
    Stage("sentence check", ((chat.support, "check_answer", _unchecked),), mode=AnswerMode.ANSWER),
)


def evaluate_ablation(
    builder: CorpusBuilder,
    retriever_with: Callable[[bool, bool], Searches],
    answerer_with: Callable[[Searches], Answers],
    documents: Sequence[EvalDocument],
    questions: Sequence[EvalQuestion],
    *,
    stages: Sequence[Stage] = STAGES,
    limit: int | None = None,
    generated: int = 0,
    seed: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The figures of a set with everything, and what each stage's absence changes in them.

    Args:
        retriever_with: makes a retriever with or without dense search and keyword search.
        generated: questions that the language model answers for the stages that only show there; 0 leaves them out.

    Returns:
        full: figures by mode. without: by stage, the differences to them (None where a figure cannot be judged).
    """
    chosen = sample(questions, limit, seed)
    used = [stage for stage in stages if generated or stage.mode is AnswerMode.QUOTE]
    runs = len(used) + len({stage.mode for stage in used})
    done = 0

    def measured(stage: Stage) -> dict[str, float | None]:
        nonlocal done
        figures = _figures(stage, retriever_with, answerer_with, corpus, chosen, generated)
        done += 1
        if progress:
            progress(done, runs)
        return figures

    full: dict[str, dict[str, float | None]] = {}
    without: dict[str, dict[str, float | None]] = {}
    with builder.build(documents) as corpus:
        for mode in dict.fromkeys(stage.mode for stage in used):
            full[mode.value] = measured(Stage("nothing", mode=mode))
        for stage in (s for s in used if not s.reads):
            with swapped(stage.swaps):
                without[stage.name] = _difference(measured(stage), full[stage.mode.value])
    for stage in (s for s in used if s.reads):
        with swapped(stage.swaps), builder.build(documents) as corpus:
            without[stage.name] = _difference(measured(stage), full[stage.mode.value])
    return {"questions": len(chosen), "full": full, "without": without}


@contextmanager
def swapped(swaps: Sequence[Swap]) -> Iterator[None]:
    """While this holds, each name stands for its replacement. For measurements in a process of their own only."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in swaps]
    try:
        for owner, name, value in swaps:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def idle_stages(reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Stages whose absence makes no figure of any set worse by `NOTICEABLE`."""
    names = dict.fromkeys(name for report in reports.values() for name in report["without"])
    return [
        name
        for name in names
        if not any(
            change is not None and (change >= NOTICEABLE if figure in LESS_IS_BETTER else -change >= NOTICEABLE)
            for report in reports.values()
            for figure, change in report["without"].get(name, {}).items()
        )
    ]


def _figures(
    stage: Stage,
    retriever_with: Callable[[bool, bool], Searches],
    answerer_with: Callable[[Searches], Answers],
    corpus: Any,
    questions: Sequence[EvalQuestion],
    generated: int,
) -> dict[str, float | None]:
    retriever = retriever_with(stage.dense, stage.keyword)
    if stage.wrap is not None:
        retriever = stage.wrap(retriever)
    found = retrieval.report([retrieval.ask(retriever, corpus, question) for question in questions])
    asked = questions if stage.mode is AnswerMode.QUOTE else questions[:generated]
    rows = [answers.ask(answerer_with, retriever, corpus, question, stage.mode) for question in asked]
    said = answers.report(rows)
    return {
        "mrr@10": found["mrr@10"],
        "evidence@5": found["evidence@5"],
        "token_f1": said["token_f1"],
        "contains": said["contains"],
        "right_refusals": said["refusal"]["recall"],
        "false_refusals": said["refusal"]["false_rate"],
        "citation_precision": said["citation_precision"],
        "unsupported_marked": said["unsupported_rate"],
    }


def _difference(off: Mapping[str, float | None], full: Mapping[str, float | None]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, value in full.items():
        other = off.get(name)
        found[name] = None if value is None or other is None else round(other - value, 4)
    return found
