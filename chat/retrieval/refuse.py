"""Is there enough in the documents to answer at all? If not, the words that say so."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.retrieval.subjects import unnamed
from core.text import present
from core.types import ScoredChunk, StoredChunk

BEST = 5
CANDIDATES = 30
MEASURED_EMBEDDERS = frozenset({"all-minilm-l6-v2"})
"""Embedders whose similarities READING_WEIGHTS were fitted on; others differ too much in scale to share them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What retrieval found for a question.

    coverage: share of the question's content words in the best chunk, rare words weighing more, 0.0–1.0.
    reach: the same over all candidates together. weight: of all the question's content words. similarity: best inner
    product, None when the embedder does not read the question or its scale was never measured. missing: content words
    found in no candidate. results: live chunks found. foreign: the best chunks are in another language, which an
    embedder of unmeasured scale may read: words cannot tell then. unnamed: organisations and people of the question
    that no candidate names. spread: how far the best similarity lies above the least of the best ten chunks.
    """

    coverage: float
    reach: float
    similarity: float | None
    missing: tuple[str, ...]
    results: int
    foreign: bool = False
    weight: float = 0.0
    unnamed: tuple[str, ...] = ()
    spread: float = 0.0

    @property
    def score(self) -> float:
        """Log-odds-like figure, higher is more evidence; 0 is the operating point of docs/decisions/0022-answers.md."""
        if self.similarity is None:
            story = STORY_CREDIT * max(0.0, self.weight - STORY_FROM)
            return BLIND_WEIGHTS[0] * self.coverage + BLIND_WEIGHTS[1] * self.reach + story - BLIND_LIMIT
        story = min(READING_STORY_MOST, READING_STORY_CREDIT * max(0.0, self.weight - READING_STORY_FROM))
        figures = (self.coverage, self.reach, self.similarity, self.spread)
        return sum(w * f for w, f in zip(READING_WEIGHTS, figures, strict=True)) + story - READING_LIMIT

    @property
    def too_little(self) -> bool:
        """Whether the honest answer is a refusal."""
        return self.results == 0 or bool(self.unnamed) or (self.score < 0.0 and not self.foreign)


_FRAME = (
    "mani much get tell say explain describ give list find know mean pleas summar compar happen whi does "
    "根据 结合 总结 介绍 说明 描述 告诉 比较 内容 情况 时候 什么样 请问 分别 具体 进行 主要 "
    "能否 可否 能不能 可不可以 是不是 有没有 要不要 需不需要 怎么办 怎么样 怎样 应该 请教 你好 您好 谢谢"
)
FRAME_WORDS = frozenset(_FRAME.split())
"""Search tokens that only frame a question: their absence from a document says nothing."""
_ASKS = re.compile(r"^(?:哪.*|何[为时处种人]|多[少长大高远久].*|几.|为何|如何|是否)$")
READING_WEIGHTS = (5.0, 1.0, 10.0, 1.5)
"""Of coverage, reach, similarity and spread: docs/decisions/0022-answers.md."""
READING_LIMIT = 7.65
BLIND_WEIGHTS = (5.2, 5.0)
BLIND_LIMIT = 4.6
SPREAD_OVER = 10
STORY_FROM = 36.0
STORY_CREDIT = 0.1
READING_STORY_FROM = 16.0
READING_STORY_CREDIT = 0.06
READING_STORY_MOST = 0.8
"""A question of many words tells a story, of which no document holds more than a part: credit per unit of weight."""


def weigh(
    tokens: Sequence[str],
    ranked: Sequence[ScoredChunk],
    similarity: float | None,
    foreign: bool = False,
    subjects: Sequence[str] = (),
    stand_for: Mapping[str, tuple[frozenset[str], ...]] | None = None,
) -> Evidence:
    """Evidence for a question with these search tokens, about these subjects, in chunks ranked best first.

    stand_for: token to sets of tokens of the glossary, any of which says the same.
    """
    wanted = [token for token in dict.fromkeys(tokens) if token not in FRAME_WORDS and not _ASKS.search(token)]
    found = [_found(searchable(item.chunk), wanted, stand_for or {}) for item in ranked[:CANDIDATES]]
    seen = {token: sum(token in one for one in found) for token in wanted}
    weights = {token: math.log1p(max(1, len(found)) / (0.5 + seen[token])) for token in wanted}
    total = sum(weights.values())

    def share(have: set[str]) -> float:
        return sum(weights[token] for token in have) / total if total else 0.0

    return Evidence(
        coverage=max((share(one) for one in found[:BEST]), default=0.0),
        reach=share(set().union(*found)),
        similarity=similarity,
        missing=tuple(token for token in wanted if not seen[token]),
        results=len(ranked),
        foreign=foreign,
        weight=total,
        spread=_spread(ranked[:SPREAD_OVER]),
        unnamed=unnamed(subjects, [searchable(item.chunk) for item in ranked[:CANDIDATES]]) if subjects else (),
    )


def _spread(ranked: Sequence[ScoredChunk]) -> float:
    """A question that the documents answer stands nearer to a few chunks than to the rest of the best."""
    near = [item.stages["dense"] for item in ranked if "dense" in item.stages]
    return max(near) - min(near) if near else 0.0


def _found(text: str, wanted: Sequence[str], stand_for: Mapping[str, tuple[frozenset[str], ...]]) -> set[str]:
    """The tokens that a text has, or has another word of the glossary for."""
    found = present(text, wanted)
    lacking = [token for token in wanted if token not in found and token in stand_for]
    if not lacking:
        return found
    have = present(text, {part for token in lacking for other in stand_for[token] for part in other})
    return found | {token for token in lacking if any(other <= have for other in stand_for[token])}


def searchable(chunk: StoredChunk) -> str:
    """Everything the keyword index knows of a chunk, as one text."""
    return f"{chunk.title}\n{chunk.context}\n{chunk.path}\n{chunk.text}"


def nearest_documents(ranked: Sequence[ScoredChunk], limit: int = 3) -> tuple[str, ...]:
    """Paths of the best chunks' documents, each once, best first."""
    return tuple(dict.fromkeys(item.chunk.path for item in ranked))[:limit]


def refusal_text(language: str, nearest: Sequence[str], unnamed: Sequence[str] = ()) -> str:
    """The fixed words of a refusal in the question's language (Chinese, else English), with what nobody named."""
    if language == "zh":
        text = "在所选知识库的文档中没有找到能回答这个问题的内容"
        text += "：其中没有提到" + "、".join(unnamed) + "。" if unnamed else "。"
        return text + ("最接近的文档：" + "、".join(nearest) + "。" if nearest else "")
    text = "The documents searched do not contain an answer to this question"
    text += ": they do not mention " + ", ".join(unnamed) + "." if unnamed else "."
    return text + (" Nearest documents: " + ", ".join(nearest) + "." if nearest else "")
