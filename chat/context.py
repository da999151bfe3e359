"""Ranked chunks to numbered passages: widened to their neighbours as far as the token budget allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chat.ports import ChunkReader
from core.text import present, segment, split_sentences
from core.types import Passage, ScoredChunk, StoredChunk

CountTokens = Callable[[Sequence[str]], list[int]]
LONGEST_OVERLAP = 600
NEIGHBOURS = 1
LEAST_TOKENS = 256
"""About one chunk: with less, a model has nothing to answer from, however slowly it reads."""


@dataclass(frozen=True, slots=True)
class Source:
    """A passage with what it is made of. parts: (start, end, chunk), offsets in `passage.text`, in order."""

    passage: Passage
    parts: tuple[tuple[int, int, StoredChunk], ...]

    def chunk_at(self, offset: int) -> StoredChunk:
        """The chunk whose text stands at this offset; the retrieved chunk where none does."""
        for start, end, chunk in self.parts:
            if start <= offset < end:
                return chunk
        return self.passage.chunk


def token_budget(window: int, answer_tokens: int, fixed: int, reading_rate: float, first_token_s: float) -> int:
    """Tokens that passages may take: what fits the window, and what is read before patience ends.

    Patience gives way to `LEAST_TOKENS`, the window never does; at least 64.
    """
    return max(64, min(window - answer_tokens - fixed, max(LEAST_TOKENS, int(reading_rate * first_token_s))))


def single_sources(results: Sequence[ScoredChunk], most: int) -> list[Source]:
    """The first `most` chunks as they are, numbered from 1."""
    return [whole_source(n, item.chunk) for n, item in enumerate(results[:most], start=1)]


def whole_source(n: int, chunk: StoredChunk) -> Source:
    """A chunk as it is."""
    return _source(n, chunk, [chunk])


def build_context(
    question: str,
    results: Sequence[ScoredChunk],
    chunks: ChunkReader,
    count_tokens: CountTokens,
    budget: int,
    most: int,
) -> list[Source]:
    """At most `most` passages of at most `budget` tokens together, in rank order, numbered from 1.

    Chunks come first, best first, until one does not fit; what is left is spent on the neighbours of the best. A
    chunk that stands inside a wider passage is not given twice. A first chunk over the budget is cut to the
    sentences around the question's words.
    """
    chosen = _fitting([item.chunk for item in results[:most]], count_tokens, budget)
    if not chosen:
        if not results:
            return []
        return [_cut(question, results[0].chunk, count_tokens, budget)]
    left = budget - sum(cost for _, cost in chosen)
    groups: list[list[StoredChunk]] = []
    taken: set[int] = set()
    cheap = min(cost for _, cost in chosen)
    for chunk, cost in chosen:
        if chunk.id in taken:
            left += cost
            continue
        group = [chunk]
        if left >= cheap:
            around = [c for c in chunks.neighbours(chunk, NEIGHBOURS, NEIGHBOURS) if c.id not in taken]
            wider = count_tokens([_joined(around)[0]])[0] if len(around) > 1 else cost
            if 0 < wider - cost <= left:
                group, left = around, left - (wider - cost)
        taken.update(c.id for c in group)
        groups.append([chunk, *group])
    return [_source(n, group[0], group[1:]) for n, group in enumerate(groups, start=1)]


def _fitting(ranked: Sequence[StoredChunk], count_tokens: CountTokens, budget: int) -> list[tuple[StoredChunk, int]]:
    chosen: list[tuple[StoredChunk, int]] = []
    used = 0
    for chunk, cost in zip(ranked, count_tokens([_heading(c) + c.text for c in ranked]), strict=True):
        if used + cost > budget:
            break
        chosen.append((chunk, cost))
        used += cost
    return chosen


def _heading(chunk: StoredChunk) -> str:
    return f"{chunk.title or chunk.path}\n{chunk.context}\n"


def _cut(question: str, chunk: StoredChunk, count_tokens: CountTokens, budget: int) -> Source:
    """The run of whole sentences with most of the question's words that fits, or the start of one sentence."""
    spans = split_sentences(chunk.text)
    texts = [chunk.text[start:end] for start, end in spans]
    costs = count_tokens(texts)
    wanted = segment(question)
    centre = max(range(len(texts)), key=lambda i: (len(present(texts[i], wanted)), -i), default=0)
    first = last = centre
    used = costs[centre]
    while True:
        after = costs[last + 1] if last + 1 < len(texts) else budget
        before = costs[first - 1] if first else budget
        if used + after <= budget:
            last, used = last + 1, used + after
        elif used + before <= budget:
            first, used = first - 1, used + before
        else:
            break
    start, end = spans[first][0], spans[last][1]
    text = chunk.text[start:end]
    while used > budget and len(text) > 1:
        text = text[: max(1, len(text) * budget // (used + 1))]
        used = count_tokens([text])[0]
    return Source(Passage(1, chunk, text), ((0, len(text), chunk),))


def _source(n: int, chunk: StoredChunk, group: Sequence[StoredChunk]) -> Source:
    text, parts = _joined(sorted(group, key=lambda c: c.ordinal))
    return Source(Passage(n, chunk, text), parts)


def _joined(group: Sequence[StoredChunk]) -> tuple[str, tuple[tuple[int, int, StoredChunk], ...]]:
    """Texts of consecutive chunks as one; sentences that the next one repeats are kept once."""
    text = ""
    parts: list[tuple[int, int, StoredChunk]] = []
    for chunk in group:
        shared = _overlap(text, chunk.text)
        joint = "" if not text or shared else "\n"
        start = len(text) + len(joint)
        text += joint + chunk.text[shared:]
        parts.append((start, len(text), chunk))
    return text, tuple(parts)


def _overlap(before: str, after: str) -> int:
    for length in range(min(len(before), len(after), LONGEST_OVERLAP), 3, -1):
        if before.endswith(after[:length]):
            return length
    return 0
