"""Follow-up to stand-alone question, by rule: no model call, and nothing is changed when the history is not needed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from chat.glossary import glossary_words
from core.text import detect_language, fold, segment
from core.types import ChatTurn, GlossaryTerm

_ENGLISH_POINTERS = re.compile(
    r"\b(it|its|they|them|their|theirs|this|that|these|those|he|him|his|she|her|hers|one|ones|there|such|"
    r"the (?:same|other|others|former|latter|next|previous|above|first|second|third|last)|else|another|instead|also)\b",
    re.IGNORECASE,
)
_ENGLISH_STARTS = re.compile(
    r"^\s*(and|but|so|then|or|what about|how about|what else|why|why not|really|are you sure|tell me more|more|"
    r"go on|explain|elaborate|for example|such as|ok|okay|thanks?|yes|no)\b",
    re.IGNORECASE,
)
_CHINESE_POINTERS = re.compile(
    r"它|他|她|这|那(?!么)|该|其(?!他|它|中|实|余)|此(?!外)|上述|上面|前者|后者|同样|另外|还有|刚才|以上|相比之下"
)
_CHINESE_STARTS = re.compile(
    r"^\s*(那么?|然后|所以|为什么|为何|怎么会|还有|再|接着|继续|详细|举例|具体|什么时候|多少|哪)"
)
_ELLIPTIC = re.compile(r"呢\s*[？?]?\s*$|^\s*(?:and|what about|how about|那么?|还有)\b", re.IGNORECASE)
SHORT_TOKENS = 3
MOST_TOPIC_WORDS = 12


def needs_history(question: str) -> bool:
    """Whether a question points back: a pronoun, an elliptic start, or too few words to stand alone."""
    words = len(set(segment(question)))
    if detect_language(question) == "zh":
        return (
            words <= SHORT_TOKENS
            or bool(_CHINESE_POINTERS.search(question))
            or (bool(_CHINESE_STARTS.match(question)) and words <= 2 * SHORT_TOKENS)
        )
    if words <= SHORT_TOKENS or _ENGLISH_POINTERS.search(question):
        return True
    return bool(_ENGLISH_STARTS.match(question)) and words <= 2 * SHORT_TOKENS


def condense(
    question: str, history: Sequence[ChatTurn], titles: Sequence[str] = (), terms: Sequence[GlossaryTerm] = ()
) -> str:
    """The question with the topic of the conversation before it, or unchanged when it stands alone.

    Args:
        titles: titles of the documents the last answer cited.
        terms: a glossary: a short question that names one of its words, and no more than it, stands alone unless it
            points back; of the topic before, its words come first and are never cut.
    """
    asked = [turn.text for turn in history if turn.role == "user"]
    if not asked or not needs_history(question):
        return question
    if terms and glossary_words(question, terms) and not _points_back(question):
        return question
    topic = asked[-1]
    if detect_language(topic) != detect_language(question) and not _points_back(question):
        return question  # who changes the language and points at nothing asks something new
    if needs_history(topic) and len(asked) > 1:
        topic = f"{_topic_words(asked[-2], question + topic)} {topic}"
    own = [word for word in glossary_words(topic, terms) if fold(word) not in fold(question)]
    words = _topic_words(f"{topic} {' '.join(titles[:1])}", " ".join((question, *own)))
    words = " ".join((*own, words)).strip()
    return f"{words} {question}" if words else question


def _points_back(question: str) -> bool:
    pointers = _CHINESE_POINTERS if detect_language(question) == "zh" else _ENGLISH_POINTERS
    return bool(pointers.search(question) or _ELLIPTIC.search(question))


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
