"""Figures and names that changed places, or stand where the source's sentence has another name."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Sequence

from chat.facts.values import names_of, squash, tagged
from core.text import HAN, segment

SAME_WORDS = 0.8  # this and the share below: docs/decisions/0022-answers.md
FEWEST = 2
ORDER_KEPT = 0.8
LONGEST_NAME = 4
_VOICE = re.compile(r"被|由|受|为.{1,12}所|\bby\b", re.IGNORECASE)
_IN_LIST = re.compile(
    r"[\s,，、/&()（）\"“”*]*(?:\b(?:and|or|vs\.?|versus|as well as|with)\b|和|与|及其?|或者?|以及|同)?"
    r"[\s,，、/&()（）\"“”*$£€]*",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z][\w'’&-]*|\d[\d.,]*\d|\d")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_MORE_NAMES = re.compile(
    r"(?!股份有限)[\u4e00-\u9fff]{2,10}?(?=(?:股份)?有限(?:责任)?公司)|[\u4e00-\u9fff]{2}市[\u4e00-\u9fff]{2}[区县]|"
    r"(?<![\u4e00-\u9fff])[\u4e00-\u9fff]某{1,2}(?![些个种地年月日天处事公])|(?<=《)[^》]{2,30}(?=》)"
)


def exchanged_problem(sentence: str, close: Sequence[str]) -> str:
    """Two figures or names that the sentences that say the same have the other way round; "" when one agrees."""
    problems = [_exchanged(sentence, text) for text in close]
    return problems[0] if all(problems) else ""


def _exchanged(sentence: str, text: str) -> str:
    """Two figures or two names that follow one another the other way round, all words beside them as they were."""
    for places in (_number_places, _name_places):
        here, there = places(sentence), places(text)
        shared = sorted((here[item], item) for item in here.keys() & there.keys())
        for (_, first), (_, second) in itertools.combinations(shared, 2):
            if there[first] <= there[second] or _side_by_side(sentence[here[first] + len(first) : here[second]], here):
                continue
            here_voice = _VOICE.findall(sentence[here[first] : here[second]])
            there_voice = _VOICE.findall(text[there[second] : there[first]])
            if len(here_voice) == len(there_voice) and _order_kept(sentence, text, (first, second)):
                return f"“{first}” and “{second}” stand in the source the other way round."
    return ""


def _side_by_side(between: str, items: Iterable[str]) -> bool:
    """Whether nothing but commas, an “and” and other members of the list stands between two, units aside."""
    for item in items:
        between = between.replace(item, "")
    between = re.sub(r"^\s?(?:[%％‰]|[万亿]?元|percent|million|billion|[年月日天人个名])", "", between)
    return all(_IN_LIST.fullmatch(piece) for piece in re.split(r"[,，、]", between))


def _order_kept(sentence: str, text: str, exchanged: tuple[str, str]) -> bool:
    words = [w for w in _plain_words(sentence) if not any(w in item or item in w for item in exchanged)]
    unique = [w for w in words if sentence.count(w) == 1 and text.count(w) == 1]
    places = [text.index(w) for w in sorted(unique, key=sentence.index)]
    if len(places) < FEWEST:
        return False
    kept = sum(a <= b for a, b in itertools.pairwise(places))
    return kept >= ORDER_KEPT * (len(places) - 1)


def _plain_words(text: str) -> list[str]:
    latin = re.findall(r"[A-Za-z]{3,}", text)
    return list(dict.fromkeys([*latin, *(t for t in segment(text) if HAN.match(t))]))


def _number_places(text: str) -> dict[str, int]:
    return _once(text, (m.group() for m in _NUMBER.finditer(text)), r"(?<![\d.,]){}(?![\d]|[.,]\d)")


def _name_places(text: str) -> dict[str, int]:
    return _once(text, all_names(text), "{}")


def _once(text: str, items: Iterable[str], pattern: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in dict.fromkeys(items):
        places = [m.start() for m in re.finditer(pattern.format(re.escape(item)), text)]
        if len(places) == 1:
            found[item] = places[0]
    return found


def replaced_problem(sentence: str, close: Sequence[str]) -> str:
    """A name that stands where the sentences that say the same have another name; "" when one of them agrees."""
    problems = [_replaced(sentence, text) for text in close]
    return problems[0] if all(problems) else ""


def _replaced(sentence: str, text: str) -> str:
    """A name that stands where this text, word for word the same around it, has another name."""
    said, there = _word_list(sentence), _word_list(text)
    matcher = difflib.SequenceMatcher(None, said, there, autojunk=False)
    if sum(block.size for block in matcher.get_matching_blocks()) < SAME_WORDS * len(said):
        return ""
    names, rivals = set(_name_words(sentence)), set(_name_words(text))
    for kind, a, b, c, d in matcher.get_opcodes():
        mine, theirs = said[a:b], there[c:d]
        if kind != "replace" or max(len(mine), len(theirs)) > LONGEST_NAME or set(mine) & set(theirs):
            continue
        own, other = [w for w in mine if w in names], [w for w in theirs if w in rivals]
        moved = bool(own) and own[0] in there and _in_list(sentence, own[0])
        if own and other and not moved and len(own) + len(other) >= len(mine) and not _initials(own, theirs):
            return f"The source says “{' '.join(other)}” where this says “{' '.join(own)}”."
    return ""


def _word_list(text: str) -> list[str]:
    if HAN.search(text):
        return [word for word, _ in tagged(text) if re.search(r"\w", word)]
    return [re.sub(r"['’]s?$", "", word) for word in _WORD.findall(text)]


def _name_words(text: str) -> list[str]:
    found = " ".join(all_names(text))
    return [word for word in _word_list(text) if word in found and len(word) > 1]


def _in_list(text: str, word: str) -> bool:
    """Whether a word is a member of a list, whose members may stand in any order."""
    return bool(
        re.search(rf"(?:[,、，]|\b(?:and|or)|[和与及或])\s*{re.escape(word)}|{re.escape(word)}\s*[,、，和与及或]", text)
    )


def _initials(own: Sequence[str], theirs: Sequence[str]) -> bool:
    letters = {"".join(word[0] for word in side).upper() for side in (own, theirs)}
    return any(word.upper() in letters for word in (*own, *theirs))


def all_names(text: str) -> list[str]:
    """Names of people, places, organisations and titles in a text, each once."""
    if HAN.search(text):
        return list(dict.fromkeys([*(m.group() for m in _MORE_NAMES.finditer(text)), *names_of(text)]))
    return [name for name in names_of(text) if len(squash(name)) > 1]


def formed_names(text: str) -> list[str]:
    """Names that their form alone shows, without identifiers: 某某公司, 王某, 《…》, words with a capital."""
    if HAN.search(text):
        return list(dict.fromkeys(m.group() for m in _MORE_NAMES.finditer(text)))
    return [name for name in all_names(text) if name[0].isupper() and not any(c.isdigit() for c in name)]


def known_end(name: str, letters: str) -> str:
    """The longest end of a name that a source has: what stands before a Chinese company's name is taken for part of it.

    Args:
        letters: the source through `squash`.
    """
    key = squash(name)
    ends = (key[i:] for i in range(len(key) - 1 if HAN.search(key) else 1))
    return next((end for end in ends if end and end in letters), "")
