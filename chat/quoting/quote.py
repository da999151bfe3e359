"""Answers made of the documents' own sentences: the ones that speak most closely to the question."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.context import Source
from chat.quoting.closeness import Candidate, Similarity, candidates_of, compared, is_heading, pieces_of, text_of
from chat.quoting.lists import List, begins_item, list_around
from chat.quoting.parts import LONGEST_PART, asked_parts
from chat.quoting.tables import told
from chat.verification.verify import FRAMING
from core.text import present, segment

MOST_SENTENCES = 3
SECOND_SHARE = 0.75
"""Of the best score, what a further sentence must have."""
OTHER_DOCUMENT_SHARE = 0.55
FEWEST_STRANGE = 2
"""The same for one under a title or headings with at least so many words of the question that nothing chosen has."""
LONGEST = 320
LONGEST_LIST = 700
"""Characters of a list, below the sentence that leads into it, that are quoted as a whole."""
MOST_ROWS = 12
"""Rows of one table that are quoted where the question tells none of them from the others."""
_CLAUSE = re.compile(r"[，,；;、：:]\s*")


@dataclass(frozen=True, slots=True)
class Quote:
    """Exact words of a passage. start/end: offsets in `source.passage.text`. score: higher is closer. told: how they
    are shown where they cannot be understood alone: rows with the names of their columns, items below what leads in."""

    source: Source
    start: int
    end: int
    score: float
    told: str = ""

    @property
    def text(self) -> str:
        return self.source.passage.text[self.start : self.end].strip()

    @property
    def shown(self) -> str:
        return self.told or self.text


def best_quotes(
    question: str,
    sources: Sequence[Source],
    similarity: Similarity | None = None,
    guard: bool = True,
    topic: str = "",
) -> list[Quote]:
    """The best three sentences or rows at most, best first, those that stand side by side joined into one quote.

    What cannot be understood alone comes with what it needs: a heading with the sentence below it, a sentence that
    leads into a list with the list, a row with the names of its columns and with the rows that the question does not
    tell it from. A question for an article gets the whole article and nothing else.

    A sentence scores by the question's words in it (rare ones more), a part of those around it and in its headings,
    a figure, date or name where the question asks for one, its passage's place in the ranking, and its similarity to
    the question where an embedder reads it. docs/decisions/0015-quotes.md has the weights' measurement. Sentences
    that give an assistant instructions are never quoted, unless `guard` is off for a measurement.

    Args:
        topic: what a follow-up has before it of the conversation. Its words count less than those that were typed, and
            tell nothing of the kind of thing that is asked for.
    """
    tokens = list(dict.fromkeys(segment(question)))
    tokens = [token for token in tokens if token not in FRAMING] or tokens
    own = question.removeprefix(topic)
    asked = frozenset(segment(own)) & frozenset(tokens) or frozenset(tokens)
    pieces = [pieces_of(source.passage.text) for source in sources]
    candidates = candidates_of(own, tokens, sources, pieces, guard, asked)
    if not candidates:
        return []
    everything = {(c.source, c.index): c for c in candidates}
    spans = [[(start, end) for start, end, _ in all_of] for all_of in pieces]
    whole = [
        [everything[part.source, at] for at in range(part.first, part.last + 1) if (part.source, at) in everything]
        for part in asked_parts(question, sources, spans)
    ]
    if any(whole):
        return [quote for part in whole for quote in _joined(part, {}, sources, tokens, LONGEST_PART)]
    if similarity is not None:
        candidates = compared(candidates, tokens, sources, similarity)
    best = max(candidates, key=lambda c: (c.score, -c.source, -c.index))
    chosen = [best, *_further(best, candidates, tokens, asked)]
    following = _after_question(best, sources, everything)
    if following is not None and following not in chosen:
        chosen = [*chosen[: MOST_SENTENCES - 1], following]
    chosen = [*chosen, *_under_headings(chosen, sources, everything)]
    chosen = _with_rows_alike(chosen, sources, everything)
    return _joined(*_with_lists(chosen, sources, spans, everything), sources, tokens)


def _further(
    best: Candidate, candidates: Sequence[Candidate], tokens: Sequence[str], asked: frozenset[str]
) -> list[Candidate]:
    """Those next to the best that add words that are asked, in themselves or in what they stand under."""
    chosen: list[Candidate] = []
    covered = best.own | best.head
    for candidate in sorted(candidates, key=lambda c: (-c.score, c.source, c.index)):
        strange = len(candidate.head - covered) >= FEWEST_STRANGE
        close = candidate.score >= (OTHER_DOCUMENT_SHARE if strange else SECOND_SHARE) * best.score
        adds = ((candidate.own | candidate.head) & asked) - covered or not tokens
        if close and adds and candidate != best and len(chosen) < MOST_SENTENCES - 1:
            chosen.append(candidate)
            covered |= candidate.own | candidate.head
    return chosen


def _after_question(
    best: Candidate, sources: Sequence[Source], everything: Mapping[tuple[int, int], Candidate]
) -> Candidate | None:
    """In lists of questions and answers the best sentence is the question; what answers it comes next."""
    if not text_of(best, sources).endswith(("?", "？", ":", "：")):
        return None
    return everything.get((best.source, best.index + 1))


def _under_headings(
    chosen: Sequence[Candidate], sources: Sequence[Source], everything: Mapping[tuple[int, int], Candidate]
) -> list[Candidate]:
    """The sentences right under chosen headings, which alone tell nothing."""
    headings = [c for c in chosen if c.row is None and is_heading(text_of(c, sources))]
    places = [(c.source, c.index + 1) for c in headings if not begins_item(text_of(c, sources))]
    under = [everything[place] for place in places if place in everything]
    return [c for c in under if c.row is None and c not in chosen]


def _with_rows_alike(
    chosen: Sequence[Candidate], sources: Sequence[Source], everything: Mapping[tuple[int, int], Candidate]
) -> list[Candidate]:
    """The chosen, and where the first is a row, the rows of its table that have the same words of the question."""
    best = chosen[0]
    if best.row is None:
        return list(chosen)
    place = sources[best.source].passage.chunk.document_id, best.row.columns
    alike = [
        c
        for c in everything.values()
        if c.row and c.cells == best.cells and (sources[c.source].passage.chunk.document_id, c.row.columns) == place
    ]
    return [*chosen, *(c for c in alike if c not in chosen)] if len(alike) <= MOST_ROWS else list(chosen)


def _with_lists(
    chosen: Sequence[Candidate],
    sources: Sequence[Source],
    spans: Sequence[Sequence[tuple[int, int]]],
    everything: Mapping[tuple[int, int], Candidate],
) -> tuple[list[Candidate], dict[tuple[int, int], Candidate]]:
    """The chosen with the items of lists that they lead into, and by the place of an item what leads into its list."""
    found = {(c.source, c.index): c for c in chosen}
    leads: dict[tuple[int, int], Candidate] = {}
    whole: list[Candidate] = []
    for candidate in chosen:
        text = sources[candidate.source].passage.text
        around = list_around(text, spans[candidate.source], candidate.index)
        if candidate.row or around is None or around.lead is None:
            continue
        lead = everything.get((candidate.source, around.lead))
        if lead is None or lead in leads.values() or lead in whole:
            continue
        if candidate == lead or not candidate.own - lead.own:
            whole.append(lead)
            found |= {(c.source, c.index): c for c in (lead, *_whole(around, candidate.source, everything))}
            continue
        if not around.fragments or not begins_item(text[candidate.start : candidate.end]):
            continue
        if lead in chosen and chosen.index(candidate) < chosen.index(lead):
            del found[lead.source, lead.index]
        if lead not in found.values():
            leads[candidate.source, candidate.index] = lead
    return list(found.values()), leads


def _whole(around: List, source: int, everything: Mapping[tuple[int, int], Candidate]) -> list[Candidate]:
    """The items of a list, at least one, as far as LONGEST_LIST goes."""
    items = [everything[source, at] for at in range(around.first, around.last + 1) if (source, at) in everything]
    ends = list(itertools.accumulate(item.end - item.start for item in items))
    return items[: max(1, sum(end <= LONGEST_LIST for end in ends))]


def _joined(
    chosen: Sequence[Candidate],
    leads: Mapping[tuple[int, int], Candidate],
    sources: Sequence[Source],
    tokens: Sequence[str],
    longest: int = LONGEST,
) -> list[Quote]:
    quotes: list[Quote] = []
    for run in _runs(chosen):
        source = sources[run[0].source]
        start, end = run[0].start, run[-1].end
        if len(run) == 1 and end - start > longest and run[0].row is None:
            start, end = _clauses(source.passage.text, start, end, tokens)
        quotes.append(Quote(source, start, end, max(c.score for c in run), _told(run, leads, sources, tokens)))
    return sorted(quotes, key=lambda q: (-q.score, q.source.passage.n, q.start))


def _told(
    run: Sequence[Candidate],
    leads: Mapping[tuple[int, int], Candidate],
    sources: Sequence[Source],
    tokens: Sequence[str],
) -> str:
    """Empty where the words of the run are understood as they stand."""
    rows = told([c.row for c in run if c.row], tokens) if run[0].row else []
    if rows:
        return rows[0] if len(rows) == 1 else "\n".join(f"- {row}" for row in rows)
    lead = next((leads[c.source, c.index] for c in run if (c.source, c.index) in leads), None)
    if lead is None:
        return ""
    text = sources[run[0].source].passage.text
    return f"{text_of(lead, sources)}\n{text[run[0].start : run[-1].end].rstrip()}"


def _runs(chosen: Sequence[Candidate]) -> list[list[Candidate]]:
    runs: list[list[Candidate]] = []
    for candidate in sorted(chosen, key=lambda c: (c.source, c.index)):
        last = runs[-1][-1] if runs else None
        follows = last is not None and (last.source, last.index + 1) == (candidate.source, candidate.index)
        if last is not None and follows and _table(last) == _table(candidate):
            runs[-1].append(candidate)
        else:
            runs.append([candidate])
    return runs


def _table(candidate: Candidate) -> tuple[int, int] | None:
    return candidate.row.table if candidate.row else None


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
