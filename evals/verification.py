"""Runner: does the sentence check catch what was changed, and leave what is true alone?"""

from __future__ import annotations

import random
import re
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from chat.verification.verify import Embed, problem_of, sentences_of
from core.text import detect_language, split_sentences
from evals.changes import KINDS, changed, name_class, names_in, rewritten
from evals.metrics import squash, words
from evals.sets import EvalDocument, EvalQuestion, sample

PASSAGE = {"zh": 500, "en": 1200}
"""Characters around an evidence sentence that count as the cited passage: about a chunk and its neighbours."""
SHORTEST = {"zh": 10, "en": 30}
HALVES = ("fitted", "held out")
TRUE_KINDS = ("evidence", "answer", "close answer", "rewritten")
CLOSE = 0.7
"""Share of an answer's words that stand in the set's evidence from which it only says the evidence in other order."""


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence and the texts it is said to rest on.

    kind: of the change; for true ones `evidence` (a sentence of the document), `answer` (a sentence of the reference
    answer, in other words), `close answer` (one whose figures all and whose words mostly stand in the evidence) or
    `rewritten` (figures written another way). half: which half of the documents it is of.
    """

    language: str
    kind: str
    half: str
    sentence: str
    sources: tuple[str, ...]
    what: str = ""

    @property
    def true(self) -> bool:
        return self.kind in TRUE_KINDS


def verification_cases(
    documents: Sequence[EvalDocument],
    questions: Sequence[EvalQuestion],
    limit: int | None = None,
    seed: int = 1,
    answers: bool = True,
) -> list[Case]:
    """True sentences of a set and each of them with one change of every kind it has a place for.

    Evidence is what the set says it is, else the sentence of the gold document that holds an answer. The halves are
    made by document, so that what one half was fitted on is not in the other.

    Args:
        answers: the reference answers of this set rest on the gold documents alone, so that their sentences are true.
    """
    rng = random.Random(seed)
    by_id = {document.doc_id: document for document in documents}
    pools = _name_pools(documents)
    cases: dict[tuple[str, str], Case] = {}
    for question in sample([q for q in questions if q.gold and q.gold[0] in by_id], limit, seed):
        asked = question if answers else replace(question, answers=())
        for case in _cases(asked, [by_id[gold] for gold in question.gold if gold in by_id], pools, rng):
            cases.setdefault((case.kind, case.sentence), case)
    return list(cases.values())


def check_cases(
    cases: Sequence[Case],
    embed_for: Callable[[str], Embed | None] | None = None,
    on_row: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Shares of changed sentences caught and of true ones flagged: in all, by kind and for the held-out half.

    Args:
        embed_for: the embedder for sentences that it reads, None for others.
    """
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    started = time.perf_counter()
    for case in cases:
        problem = problem_of(case.sentence, case.sources, embed_for(case.sentence) if embed_for else None)
        for group in (case.kind, "true" if case.true else "changed"):
            for part in ("all", case.half):
                counts[case.language][f"{part}/{group}"].update(n=1, marked=bool(problem))
        if on_row:
            on_row({"kind": case.kind, "language": case.language, "half": case.half, "changed": case.what,
                    "sentence": case.sentence, "problem": problem, "sources": case.sources})  # fmt: skip
    seconds = time.perf_counter() - started
    report: dict[str, Any] = {"sentences": len(cases), "ms_per_sentence": round(1000 * seconds / max(1, len(cases)), 2)}
    for language, groups in sorted(counts.items()):
        report[language] = {
            "caught": _shares(groups, ("changed", *KINDS)),
            "flagged": _shares(groups, ("true", *TRUE_KINDS)),
        }
    return report


def _shares(groups: Mapping[str, Counter[str]], names: Sequence[str]) -> dict[str, Any]:
    shares: dict[str, Any] = {}
    for name in names:
        whole, held = groups.get(f"all/{name}"), groups.get(f"held out/{name}")
        if whole:
            shares[name] = {
                "n": whole["n"],
                "share": round(whole["marked"] / whole["n"], 4),
                "held_out": round(held["marked"] / held["n"], 4) if held else None,
            }
    return shares


def _name_pools(documents: Sequence[EvalDocument]) -> dict[str, list[str]]:
    pools: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        language = _language(document.text)
        for start, end in split_sentences(document.text[:4000]):
            for match in names_in(document.text[start:end], language):
                pools[name_class(match.group(), language)].add(match.group())
    return {name: sorted(found) for name, found in pools.items()}


def _cases(
    question: EvalQuestion, gold: Sequence[EvalDocument], pools: Mapping[str, Sequence[str]], rng: random.Random
) -> Iterator[Case]:
    half = HALVES[zlib.crc32(gold[0].doc_id.encode()) % 2]
    evidence = [(document, place) for document in gold for place in _evidence(question, document)]
    for document, (start, end) in evidence:
        sentence = document.text[start:end].strip()
        language = _language(sentence)
        if len(sentence) < SHORTEST[language] or sentence.endswith(("?", "？", ":", "：")):
            continue
        source = f"{document.title}\n{passage(document.text, start, end)}"
        yield Case(language, "evidence", half, sentence, (source,))
        other = rewritten(sentence, language)
        if other:
            yield Case(language, "rewritten", half, other, (source,))
        for change in changed(sentence, source, language, pools, rng):
            yield Case(language, change.kind, half, change.text, (source,), change.what)
    if not question.evidence or not question.answers:
        return
    whole = tuple(f"{document.title}\n{document.text}" for document in gold)
    for said in sentences_of("".join(question.answers[0])):
        language = _language(said.text)
        if len(said.text) >= SHORTEST[language]:
            yield Case(
                language, "close answer" if _close(said.text, question.evidence) else "answer", half, said.text, whole
            )
            for change in changed(said.text, "\n".join(whole), language, pools, rng):
                yield Case(language, change.kind, half, change.text, whole, change.what)


def _close(sentence: str, evidence: Sequence[str]) -> bool:
    """Whether people wrote it with the words and all the figures of the evidence."""
    there = "\n".join(evidence)
    said = set(words(sentence))
    figures = re.findall(r"\d[\d,.]*", sentence)
    return len(said & set(words(there))) >= CLOSE * len(said) and all(f.rstrip(".,") in there for f in figures)


def _evidence(question: EvalQuestion, document: EvalDocument) -> list[tuple[int, int]]:
    """Where the evidence of a question stands in a document, by sentence."""
    spans = split_sentences(document.text)
    if question.evidence:
        wanted = "\0".join(squash(e) for e in question.evidence)
        return [
            (s, e) for s, e in spans if len(squash(document.text[s:e])) > 5 and squash(document.text[s:e]) in wanted
        ]
    strings = [part for answer in question.answers for part in answer if len(part) > 1]
    found = [(s, e) for s, e in spans if any(part in document.text[s:e] for part in strings)]
    return found[:1]


def passage(text: str, start: int, end: int) -> str:
    """Whole sentences around `text[start:end]`, about as many characters as a chunk with its neighbours has."""
    spare = max(0, PASSAGE[_language(text[start:end])] - (end - start)) // 2
    kept = [(s, e) for s, e in split_sentences(text) if e > start - spare and s < end + spare]
    return text[min(s for s, _ in kept) : max(e for _, e in kept)] if kept else text[start:end]


def _language(text: str) -> str:
    return "zh" if detect_language(text) == "zh" else "en"
