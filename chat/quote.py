"""Answers made of the documents' own sentences: the ones that speak most closely to the question."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chat.context import Source
from chat.injection import blanked
from chat.values import names_of, values_of
from chat.verify import FRAMING
from core.text import present, segment, split_sentences

Similarity = Callable[[Sequence[str]], Sequence[float]]
"""Inner products of the question with each of some texts, by an embedder that reads both."""

MOST_SENTENCES = 3
MOST_COMPARED = 48
"""Sentences, best by words, that similarity looks at: about 0.2 s of embedding."""
CUE_WEIGHT = 0.20
AROUND_WEIGHT = 0.35
RANK_WEIGHT = 0.40
SIMILARITY_WEIGHT = 0.80
SECOND_SHARE = 0.75
HEADING_PENALTY = 0.30
YEAR_PENALTY = 0.30
FEWEST_NEW = 2
"""Words a sentence must have beside the question's own, or it only says the question again."""
LONGEST = 320
_WHEN = re.compile(
    r"\bwhen\b|what (?:year|date|time|day|month)|how long ago|何时|什么时候|哪一?年|哪一?天|几月|几号|日期|时间", re.I
)
_HOW_MANY = re.compile(
    r"\bhow (?:many|much|long|old|far|large|big|often|high|tall)\b|what (?:percentage|number|amount|share)|"
    r"多少|几[个名次家年天人岁条项种]|多[长大高远久]|比例|百分之几|金额|数量",
    re.I,
)
_WHO = re.compile(r"\bwho(?:se|m)?\b|谁|哪位|何人|哪个人|姓名|叫什么", re.I)
_ENDS = re.compile(r"[。！？；.!?;…|][\"”’」』)）\]]*$")
_FIELD = re.compile(r"[:：|]\W*\w")
SHORT_LINE = 60
_CLAUSE = re.compile(r"[，,；;、：:]\s*")


@dataclass(frozen=True, slots=True)
class Quote:
    """Exact words of a passage. start/end: offsets in `source.passage.text`. score: higher is closer."""

    source: Source
    start: int
    end: int
    score: float

    @property
    def text(self) -> str:
        return self.source.passage.text[self.start : self.end].strip()


@dataclass(frozen=True, slots=True)
class _Candidate:
    source: int
    index: int
    start: int
    end: int
    own: frozenset[str]
    score: float


def best_quotes(
    question: str, sources: Sequence[Source], similarity: Similarity | None = None, guard: bool = True
) -> list[Quote]:
    """At most three sentences in all, best first, sentences that stand side by side joined into one quote.

    A sentence scores by the question's words in it (rare ones more), a part of those around it and in its headings,
    a figure, date or name where the question asks for one, its passage's place in the ranking, and its similarity to
    the question where an embedder reads it. docs/decisions/0015-quotes.md has the weights' measurement. Sentences
    that give an assistant instructions are never quoted, unless `guard` is off for a measurement.
    """
    tokens = list(dict.fromkeys(segment(question)))
    tokens = [token for token in tokens if token not in FRAMING] or tokens
    candidates = _candidates(question, tokens, sources)
    if guard:
        candidates = _harmless(candidates, sources)
    if not candidates:
        return []
    if similarity is not None:
        candidates = _compared(candidates, sources, similarity)
    best = max(candidates, key=lambda c: (c.score, -c.source, -c.index))
    chosen = [best]
    covered = set(best.own)
    for candidate in sorted(candidates, key=lambda c: (-c.score, c.source, c.index)):
        if len(chosen) == MOST_SENTENCES or candidate.score < SECOND_SHARE * best.score:
            break
        if candidate not in chosen and (candidate.own - covered or not tokens):
            chosen.append(candidate)
            covered |= candidate.own
    following = _after_question(best, sources, candidates)
    if following is not None and following not in chosen:
        chosen = [*chosen[: MOST_SENTENCES - 1], following]
    return _joined(chosen, sources, tokens)


def _candidates(question: str, tokens: Sequence[str], sources: Sequence[Source]) -> list[_Candidate]:
    rows: list[tuple[int, int, int, int, frozenset[str], frozenset[str], float]] = []
    years = _years(question)
    for number, source in enumerate(sources):
        text = source.passage.text
        chunk = source.passage.chunk
        head = frozenset(present(f"{chunk.title} {chunk.context}", tokens))
        spans = split_sentences(text)
        owns = [frozenset(present(text[start:end], tokens)) for start, end in spans]
        for index, (start, end) in enumerate(spans):
            if not re.search(r"\w", text[start:end]):
                continue
            around = head.union(*owns[max(0, index - 1) : index]) | frozenset().union(*owns[index + 1 : index + 2])
            rest = CUE_WEIGHT * _cue(question, text[start:end]) * bool(owns[index])
            rest -= _empty(text[start:end], tokens) + YEAR_PENALTY * _other_year(text[start:end], years)
            rows.append((number, index, start, end, owns[index], around, rest))
    count = max(1, len(rows))
    rarity = {t: math.log1p(count / (0.5 + sum(t in row[4] for row in rows))) for t in tokens}
    total = sum(rarity.values()) or 1.0

    def share(found: frozenset[str]) -> float:
        return sum(rarity[t] for t in found) / total

    return [
        _Candidate(
            number,
            index,
            start,
            end,
            own,
            share(own) + AROUND_WEIGHT * share(around - own) + rest + RANK_WEIGHT / (1 + number),
        )
        for number, index, start, end, own, around, rest in rows
    ]  # fmt: skip


def _harmless(candidates: Sequence[_Candidate], sources: Sequence[Source]) -> list[_Candidate]:
    texts = [blanked(source.passage.text) for source in sources]
    return [c for c in candidates if re.search(r"\w", texts[c.source][c.start : c.end])]


def _compared(candidates: Sequence[_Candidate], sources: Sequence[Source], similarity: Similarity) -> list[_Candidate]:
    """The most promising candidates, with their similarity to the question added; the others drop out."""
    promising = sorted(candidates, key=lambda c: (-c.score, c.source, c.index))[:MOST_COMPARED]
    texts = [sources[c.source].passage.text[c.start : c.end].strip() for c in promising]
    near = similarity(texts)
    return [
        replace(c, score=c.score + SIMILARITY_WEIGHT * value) for c, value in zip(promising, near, strict=True)
    ]  # fmt: skip


def _empty(sentence: str, tokens: Sequence[str]) -> float:
    """The penalty of a heading or of a sentence that only says the question again."""
    plain = sentence.strip()
    bare = plain.strip("#*_ \t")
    if len(set(segment(bare)) - set(tokens)) < FEWEST_NEW and not values_of(bare).numbers:
        return HEADING_PENALTY
    heading = plain.startswith("#") or (len(bare) < SHORT_LINE and not _ENDS.search(bare))
    return HEADING_PENALTY if heading and not _FIELD.search(bare) else 0.0


def _years(text: str) -> frozenset[int]:
    found = values_of(text)
    years = {date.year for date in found.dates if date.year}
    return frozenset(years | {int(n.value) for n in found.numbers if not n.unit and 1900 <= n.value <= 2100})


def _other_year(sentence: str, years: frozenset[int]) -> bool:
    """Whether the question is about one year and the sentence about others only."""
    own = _years(sentence) if years else frozenset()
    return bool(own) and not own & years


def _cue(question: str, sentence: str) -> float:
    """1.0 when the sentence has the kind of thing the question asks for, else 0.0."""
    if _WHEN.search(question):
        found = values_of(sentence)
        return float(bool(found.dates) or any(1000 <= n.value <= 2100 for n in found.numbers))
    if _HOW_MANY.search(question):
        return float(bool(values_of(sentence).numbers))
    if _WHO.search(question):
        asked = set(names_of(question))
        return float(any(name not in asked for name in names_of(sentence)))
    return 0.0


def _after_question(best: _Candidate, sources: Sequence[Source], all_of: Sequence[_Candidate]) -> _Candidate | None:
    """In lists of questions and answers the best sentence is the question; what answers it comes next."""
    text = sources[best.source].passage.text[best.start : best.end].rstrip()
    if not text.endswith(("?", "？", ":", "：")):
        return None
    return next((c for c in all_of if (c.source, c.index) == (best.source, best.index + 1)), None)


def _joined(chosen: Sequence[_Candidate], sources: Sequence[Source], tokens: Sequence[str]) -> list[Quote]:
    quotes: list[Quote] = []
    for run in _runs(chosen):
        source = sources[run[0].source]
        start, end = run[0].start, run[-1].end
        if len(run) == 1 and end - start > LONGEST:
            start, end = _clauses(source.passage.text, start, end, tokens)
        quotes.append(Quote(source, start, end, max(c.score for c in run)))
    return sorted(quotes, key=lambda q: (-q.score, q.source.passage.n, q.start))


def _runs(chosen: Sequence[_Candidate]) -> list[list[_Candidate]]:
    runs: list[list[_Candidate]] = []
    for candidate in sorted(chosen, key=lambda c: (c.source, c.index)):
        last = runs[-1][-1] if runs else None
        if last is not None and (last.source, last.index + 1) == (candidate.source, candidate.index):
            runs[-1].append(candidate)
        else:
            runs.append([candidate])
    return runs


def _clauses(text: str, start: int, end: int, tokens: Sequence[str]) -> tuple[int, int]:
    """The run of clauses of a very long sentence with most of the question's words, at most LONGEST characters."""
    cuts = [start, *(m.end() + start for m in _CLAUSE.finditer(text[start:end])), end]
    best = (start, min(end, start + LONGEST))
    most = -1
    for i, left in enumerate(cuts[:-1]):
        right = max((c for c in cuts[i + 1 :] if c - left <= LONGEST), default=min(end, left + LONGEST))
        found = len(present(text[left:right], tokens))
        if found > most:
            best, most = (left, right), found
    return best
