"""Whom a question is about by name: companies, authorities, people. Documents that never name them cannot answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from chat.facts.values import is_word, tagged
from core.text import HAN, fold

_SUFFIX = re.compile(
    r"(?:公司|集团|法院|检察院|医院|大学|学院|银行|酒店|事务所|研究院|研究所|基金会|协会|商场|传媒|科技)$"
)
_LEGAL_FORM = re.compile(r"(?:有限|股份)(?:责任)?公司$|集团$")
_GOES_ON = re.compile(r"(?:有限|股份|责任|控股|集团|公司)")
_PROPER = re.compile(r"^n[rstz]")
_RUN = re.compile(r"^(?:n|ns|nt|nz|nr|nrt|nrfg|nz|j|b|a|an|vn|x|ng|ag|i|l|eng|f|s)$")
_ANONYMISED = re.compile(r"([\u4e00-\u9fff]某某?)(?![些个种地年月日天处事公某])")
_NOT_SURNAMES = frozenset("在和与及或对被向从由把将让给是有为该此其各每这那哪某到跟同于以按据")
_FIRST = 2
_ABBREVIATED = r"(?:[A-Z]|Inc|Co|Ltd|Corp|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr)\."
_CAPITAL = rf"(?:{_ABBREVIATED}|[A-Z][A-Za-z0-9]*(?:['’&-][A-Za-z0-9]+)*)"
_SEQUENCE = re.compile(rf"(?<![A-Za-z0-9]){_CAPITAL}(?:,? (?:Inc|Ltd|LLC)\b\.?| (?:of |& )?{_CAPITAL})+")
_STRONG = re.compile(
    r"\b(?:Inc|Co|Ltd|Corp|Corporation|Company|LLC|LLP|plc|PLC|GmbH|AG|Group|Holdings|Bank|University|Hospital)\b"
    r"|^[A-Z]\. |[a-z][A-Z]"
)
_INITIAL = re.compile(r"^(?:[A-Z]\.?|Mr\.?|Mrs\.?|Ms\.?|Dr\.?|Prof\.?|The|St\.?)$")
_NEXT_SENTENCE = re.compile(r" (?:Which|What|Who|Whose|How|When|Where|Why|The|In|Did|Does|Do|Is|Are|Was|Were|And|Or)$")
_OPENING = re.compile(r"^\W*$|[.!?:;“\"(]\s*$")


def subjects_of(question: str) -> list[str]:
    """Proper names of organisations and people in a question, as written, each once, in order.

    English: two or more capitalised words in a row, the one that opens the sentence left out; when some of them can
    only be a name (`Inc.`, `J. Hill`, `JetWing`), those alone. Chinese: what stands before 公司, 集团, 法院 and the
    like, and names such as 王某某.
    """
    found = _english(question)
    found = [name for name in found if _STRONG.search(name)] or found
    if HAN.search(question):
        found += _chinese(question)
    return list(dict.fromkeys(found))


def unnamed(subjects: Iterable[str], texts: Sequence[str]) -> tuple[str, ...]:
    """The subjects that none of the texts names, not even by the part that people use for short."""
    folded = fold("\n".join(texts))
    words = set(re.findall(r"[a-z0-9]+", folded))
    squeezed = re.sub(r"\s+", "", folded)
    return tuple(s for s in subjects if not _named(s, words, squeezed))


def _named(subject: str, words: set[str], squeezed: str) -> bool:
    if HAN.search(subject):
        name = re.sub(r"\s+", "", fold(subject))
        short = name[:_FIRST]
        return (name[:4] if is_word(short) else short) in squeezed
    parts = [part for part in subject.split() if not _INITIAL.match(part)]
    key = re.findall(r"[a-z0-9]+", fold(parts[0] if parts else subject))
    return all(part in words for part in key)


def _english(question: str) -> list[str]:
    names = []
    for match in _SEQUENCE.finditer(question):
        name = _NEXT_SENTENCE.sub("", re.sub(r"['’]s?$", "", match.group()))
        if _OPENING.search(question[: match.start()]):
            name = name.partition(" ")[2]
        name = re.sub(r"^(?:of|&) ", "", name)
        if " " in name:
            names.append(name)
    return names


def _chinese(question: str) -> list[str]:
    names = [name for name in _ANONYMISED.findall(question) if name[0] not in _NOT_SURNAMES]
    run: list[tuple[str, str]] = []
    words = tagged(question)
    after = [word for word, _ in words[1:]] + [""]
    for (word, tag), following in zip(words, after, strict=True):
        if not HAN.match(word) or not (_RUN.match(tag) or _unknown(word)):
            run = []
            continue
        run.append((word, tag))
        if _SUFFIX.search(word) and not _GOES_ON.match(following):
            if _is_name(run):
                names.append("".join(part for part, _ in run))
            run = []
    return names


def _is_name(run: Sequence[tuple[str, str]]) -> bool:
    """Whether words that end like an organisation name one, and are not `年度公司` or `甲公司`."""
    name = "".join(word for word, _ in run)
    proper = any(_unknown(word) or (_PROPER.match(tag) and len(word) > 1) for word, tag in run)
    own = _SUFFIX.sub("", name)
    return len(own) >= _FIRST and (proper or (len(run) > 1 and bool(_LEGAL_FORM.search(name))))


def _unknown(word: str) -> bool:
    return len(word) > 1 and not is_word(word)
