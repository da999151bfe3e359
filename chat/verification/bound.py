"""Words with an opposite and what they are said of: costs go down here, and up in the source."""

from __future__ import annotations

# ruff: noqa: E501  a pattern is read in one line
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chat.facts.numerals import arabic
from core.text import HAN, segment

ALIKE = 0.5
"""Share of the words of what it is said of that the source's has, the last one always: docs/decisions/0022-answers.md."""
LONGEST = {"zh": 24, "en": 90}
"""Characters after such a word, or before it, that it can be said of."""

_POLES: tuple[tuple[str, str], ...] = (
    (
        r"提高|提升|增加|增长|增强|上升|上涨|扩大|加强|升至|增至|"
        r"\b(?:increas(?:e|es|ed|ing)|rise|rises|rose|risen|rising|grow|grows|grew|grown|growing|growth|rais(?:e|es|ed|ing)|enhanc(?:e|es|ed|ing)|expand(?:s|ed|ing)?|strengthen(?:s|ed|ing)?|boost(?:s|ed|ing)?|broaden(?:s|ed|ing)?)\b",
        r"降低|减少|下降|下滑|下跌|削弱|缩小|减弱|降至|减至|"
        r"\b(?:decreas(?:e|es|ed|ing)|reduc(?:e|es|ed|ing|tion|tions)|declin(?:e|es|ed|ing)|fall|falls|fell|fallen|falling|drop(?:s|ped|ping)?|lower(?:s|ed|ing)|shrink(?:s|ing)?|shrank|weaken(?:s|ed|ing)?|diminish(?:es|ed|ing)?)\b",
    ),
    (
        r"改善|提升|提高|增强|\b(?:improv(?:e|es|ed|ing|ement|ements)|enhanc(?:e|es|ed|ing)|strengthen(?:s|ed|ing)?|boost(?:s|ed|ing)?)\b",
        r"恶化|削弱|\b(?:worsen(?:s|ed|ing)?|weaken(?:s|ed|ing)?|deteriorat(?:e|es|ed|ing|ion)|damag(?:e|es|ed|ing)|harm(?:s|ed|ing)?)\b",
    ),
    (
        r"最高|最大|最多|最长|\b(?:highest|largest|greatest|biggest|longest|higher|larger|bigger|maximum|latest)\b",
        r"最低|最小|最少|最短|\b(?:lowest|smallest|least(?<!at least)|fewest|shortest|lower|smaller|minimum|earliest)\b",
    ),
    (r"\b(?:before|prior to)\b", r"\bafter\b"),
    (
        r"所有|全部|一切|\b(?:all|every|each)\b(?! other)",
        r"(?<![全大一])部分|某些|有些|一些|个别|\b(?:some|several|a few|a number of|a series of)\b",
    ),
    (
        r"(?<!不)(?:应当|必须)|\b(?:must|shall|should|(?:is|are|was|were|be) (?:required|obliged) to|ha(?:s|ve|d) to)\b",
        r"可以(?!看|说)|\b(?:may|might|can|could)\b(?!not)|(?<!as soon as )(?<!if )\b(?:possible|potential|possibly)\b|\b(?:is|are|was|were|be) (?:allowed|permitted) to\b",
    ),
    (
        r"(?<![不没未])(?:超过|高于|大于|多于|超出|逾)|不(?:低于|少于|小于)|至少|\b(?:more than|greater than|over|above|exceed(?:s|ed|ing)?|at least|no less than|not less than|a minimum of)\b",
        r"(?<![不没未])(?:低于|小于|少于|不足|不到)|不(?:超过|高于|大于|多于|超出)|至多|\b(?:less than|fewer than|under|below|at most|up to|no more than|not more than|a maximum of)\b",
    ),
)
_COMPILED = tuple((re.compile(high, re.IGNORECASE), re.compile(low, re.IGNORECASE)) for high, low in _POLES)
_QUANTITY = 4
"""All and some: where no verb is known, what they are said of goes on to the end, so its first word counts as well."""
_LIMITS = len(_POLES) - 1
"""The pair that is said of a figure, not of a thing."""
_CLAUSE_END = re.compile(r"[，。；：！？;:!?()（）\n|]|,(?!\d)|\.(?!\d)|\s[-–—]\s")
_AND = re.compile(r"[、和与及]|以及|并且?|\s(?:and|or|as well as)\s")
_PHRASE_END = re.compile(
    r"\b(?:by|to|from|for|with|without|through|over|during|at|on|as|than|which|that|who|while|when|where|because|so|but|into|within|"
    r"across|under|per|is|are|was|were|be|been|has|have|had|will|would|can|could|may|must|should|in|of|if|using|via|due|compared)\b",
    re.IGNORECASE,
)
_NOT_NOUN = re.compile(r"(?:\w+(?:ed|ing|ly)|better|then|also|thus)\b", re.IGNORECASE)
"""How what is no further member of a list begins: “improved quality and reduced costs”."""
_ADVERB = re.compile(r"^\s*(?:(?!supply|family|assembly|early)\w+ly|again|further)\b", re.IGNORECASE)
_VERB_AFTER = re.compile(r"(?<=[a-z]) [a-z]+ed\b.*$")
_AUXILIARY = re.compile(r"(?:\s(?:is|are|was|were|be|been|has|have|had|will|would|also|\w+ly))+\s*$", re.IGNORECASE)
_SUBJECT_ENDS = re.compile(r"\s(?:and|or|that|which|while|when|in|of|to|by|for|with)\s", re.IGNORECASE)
_SKIPPED = re.compile(
    r"^[\s*“”\"'$£€¥￥]*(?:了|至|到|约|近|about|approximately|roughly)?[\s*“”\"'$£€¥￥]*", re.IGNORECASE
)
_BE = re.compile(r"^\s*(?:(?:also|then|always|only)\s+)?(?:have been|be|have)\s+", re.IGNORECASE)
_OF = re.compile(r"^\s*(?:in|of)\s+(?!\W*\d)", re.IGNORECASE)
_DENIED = re.compile(
    r"(?:[不未没无勿]|没有|未能|并未|不会|避免|防止|\bnot|n['’]t|\bnever|\bno|\bwithout|\bavoid\w*|\bprevent\w*)\W*(?:\w+\W+)?$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_FIGURE = re.compile(
    r"[$£€¥￥]?\d[\d,.]*\s*(?:万亿|[万亿千百])?(?:[美欧港日]?元|个百分点|%|％|[个名家人倍条项])?(?:\s(?:million|billion|thousand|percent\b))*的?"
)
_EMPTY = frozenset(
    ["company", "compani", "overall", "total", "its", "their", "our", "more", "further", "signific", "significantli", "various", "differ", "certain", "new", "own", "same", "also", "be", "been", "not", "onli", "公司", "企业", "整体", "总体", "进一步", "显著", "明显", "有效", "大幅", "同比", "有所", "持续", "将", "会", "也", "更", "了", "的", "一步", "及", "对", "在"]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Mention:
    """A word of a pair of opposites, and the words of what it is said of, the one that counts most last."""

    word: str
    said_of: tuple[str, ...]


def bound_problem(sentence: str, texts: Sequence[str]) -> str:
    """The word of a sentence for whose opposite alone the source says the same: “costs rose”, “reducing costs”; or "".

    Anywhere in the source counts, not only the sentence that is closest to this one; a single place where the source
    has the word itself clears it.
    """
    for pole in range(len(_COMPILED)):
        for side in (0, 1):
            for mention in _mentions(sentence, pole, side):
                own = _most(mention, texts, pole, side)
                other = _most(mention, texts, pole, 1 - side)
                if other[0] >= ALIKE and other[0] > own[0]:
                    return f"Of “{mention.said_of[-1]}” the source says “{other[1]}”, not “{mention.word}”."
    return ""


def _most(mention: _Mention, texts: Sequence[str], pole: int, side: int) -> tuple[float, str]:
    """The largest share of what the mention is said of that the source says it of, too, and the word there."""
    wanted = set(mention.said_of)
    best = (0.0, "")
    for text in texts:
        for there in _said_in(text, pole, side):
            if there.said_of[-1] == mention.said_of[-1] or (pole == _QUANTITY and there.said_of[0] in wanted):
                best = max(best, (len(wanted & set(there.said_of)) / len(wanted), there.word))
    return best


@functools.lru_cache(maxsize=8192)
def _said_in(text: str, pole: int, side: int) -> tuple[_Mention, ...]:
    return tuple(_mentions(text, pole, side))


def _mentions(text: str, pole: int, side: int) -> Iterator[_Mention]:
    pattern = _COMPILED[pole][side]
    if not pattern.search(text):
        return
    text = arabic(text)
    reach = LONGEST["zh" if HAN.search(text) else "en"]
    for match in pattern.finditer(text):
        start = max((m.end() for m in _CLAUSE_END.finditer(text, 0, match.start())), default=0)
        before = text[max(start, match.start() - reach) : match.start()]
        if _DENIED.search(before):
            continue
        end = _CLAUSE_END.search(text, match.end())
        after = _SKIPPED.sub("", text[match.end() : min(end.start() if end else len(text), match.end() + reach)])
        for said_of in _limited(after) if pole == _LIMITS else _said_of(before, after):
            yield _Mention(match.group(), said_of)


def _limited(after: str) -> list[tuple[str, ...]]:
    """The figure that such a word limits, and what it counts."""
    figure = _NUMBER.match(after)
    if figure is None:
        return []
    counted = _phrases(after[figure.end() :])
    return [(*(counted[0] if counted else ()), "#" + figure.group().replace(",", ""))]


def _said_of(before: str, after: str) -> list[tuple[str, ...]]:
    """What follows such a word, each member of a list by itself; what comes before it where a figure follows or nothing."""
    found = _phrases(_OF.sub("", _BE.sub("", _FIGURE.sub("", after))))
    if found:
        return found
    subject = _AND.split(before)[-1] if HAN.search(before) else _SUBJECT_ENDS.split(_AUXILIARY.sub("", before))[-1]
    words = _words(subject)
    return [words] if words else []


def _phrases(text: str) -> list[tuple[str, ...]]:
    """The words of each member of a list at the start of a text, up to what goes on with something else."""
    found: list[tuple[str, ...]] = []
    for piece in _AND.split(text):
        ends = None if HAN.search(piece) else _PHRASE_END.search(piece)
        piece = piece[: ends.start()] if ends else piece
        if found and (_NOT_NOUN.match(piece.strip()) or _opens(piece)):
            break
        piece = _VERB_AFTER.sub("", _ADVERB.sub("", piece))
        words = _words(piece)
        if words:
            found.append(words)
        if ends:
            break
    return found


def _opens(piece: str) -> bool:
    """Whether a piece begins with a word that has an opposite, which is said of something else: “and reduce costs”."""
    return any(pattern.match(piece.strip()) for poles in _COMPILED for pattern in poles)


def _words(text: str) -> tuple[str, ...]:
    return tuple(t for t in segment(text) if t not in _EMPTY and not any(c.isdigit() for c in t))
