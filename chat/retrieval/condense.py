"""Follow-up to stand-alone question, by rule and without a model: the topic of the conversation before it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chat.retrieval.glossary import glossary_words
from chat.retrieval.pointers import Pointing, pointing, points_back
from chat.retrieval.subjects import subjects_of
from core.text import detect_language, fold, segment
from core.types import ChatTurn, GlossaryTerm

MOST_TOPIC_WORDS = 12


def condense(
    question: str, history: Sequence[ChatTurn], titles: Sequence[str] = (), terms: Sequence[GlossaryTerm] = ()
) -> str:
    """The question with the topic of the conversation before it; unchanged when it certainly stands alone.

    Whether the topic belongs to a question that does not plainly point back is seen in what both find:
    `Retriever.retrieve` is given both forms.

    Args:
        titles: titles of the documents the last answer cited.
        terms: a glossary: a short question that names one of its words, and no more than it, stands alone unless it
            points back; of the topic before, its words come first and are never cut.
    """
    asked = [turn.text for turn in history if turn.role == "user"]
    if not asked:
        return question
    if terms and glossary_words(question, terms) and not points_back(question):
        return question
    topic = asked[-1]
    if detect_language(topic) != detect_language(question) and not points_back(question):
        return question  # who changes the language and points at nothing asks something new
    if pointing(question) is not Pointing.SURELY and _names_somebody_new(question, history):
        return question
    if pointing(topic) is not Pointing.NOWHERE and len(asked) > 1:
        topic = f"{_topic_words(asked[-2], question + topic)} {topic}"
    own = [word for word in glossary_words(topic, terms) if fold(word) not in fold(question)]
    words = _topic_words(f"{topic} {' '.join(titles[:1])}", " ".join((question, *own)))
    words = " ".join((*own, words)).strip()
    return f"{words} {question}" if words else question


def _names_somebody_new(question: str, history: Sequence[ChatTurn]) -> bool:
    said = fold(" ".join(turn.text for turn in history))
    return any(fold(name) not in said for name in subjects_of(question))


_WORD = re.compile(r"[\u3400-\u9fff]+|[^\W_\u3400-\u9fff]+(?:[._\-/'][^\W_\u3400-\u9fff]+)*")


def _topic_words(text: str, question: str) -> str:
    """Words of `text` that carry a topic and that the question lacks, in their order and spelling."""
    known = set(segment(question))
    kept: list[str] = []
    for match in _WORD.finditer(text):
        tokens = segment(match.group())
        if tokens and not known.issuperset(tokens):
            known.update(tokens)
            kept.append(match.group())
    return " ".join(kept[:MOST_TOPIC_WORDS])
