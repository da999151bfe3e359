"""Does a sentence that compares two values say which is the greater as they are? “Higher at 100 than the other's 150”."""

from __future__ import annotations

# ruff: noqa: E501  a pattern is read in one line
import re
from collections.abc import Iterator
from datetime import date as Day

from chat.facts.values import Date, values_of

_GREATER = re.compile(
    r"更[高大多晚长]|[高大多晚]于|超过|\b(?:higher|greater|larger|bigger|later|longer|exceed(?:s|ed|ing)?)\b",
    re.IGNORECASE,
)
_LESSER = re.compile(r"更[低小少早短]|[低小少早]于|\b(?:lower|smaller|fewer|earlier|shorter)\b", re.IGNORECASE)
_VERB = re.compile(r"[高大多晚低小少早]于|超过|exceed", re.IGNORECASE)
"""What stands between the two that it compares."""
_OF_TIME = re.compile(r"[早晚]|earlier|later", re.IGNORECASE)
_TURN = re.compile(
    r"\b(?:compared|than|while|whereas|versus|vs|but|and)\b|相比|而|比|，|;|；|[高大多晚低小少早]于|超过|\bexceed",
    re.IGNORECASE,
)
_EARLY = re.compile(
    r"\b(?:compared|than|unlike|versus|vs|against|both)\b|相比|(?<!相)比(?!例|重|率)|与|均", re.IGNORECASE
)
"""Before the first value these may give it to the other of the two."""
_UP = r"增长|增加|提高|提升|上升|上涨|增|升|\b(?:increas\w+|ris(?:e|es|en|ing)|rose|grew|grow(?:s|n|ing)?|rais(?:e|es|ed|ing))\b"
_DOWN = r"下降|减少|降低|下滑|下跌|减|降|\b(?:decreas\w+|reduc\w+|declin\w+|fell|fall(?:s|en|ing)?|drop\w*|lower(?:s|ed|ing)|shrank)\b"
_SPAN = (
    re.compile(rf"(?P<up>{_UP})|(?P<down>{_DOWN})", re.IGNORECASE),
    re.compile(r"\bfrom\s(?P<first>[^,;]*?\d[^,;]*?)\sto\s(?P<last>[^,;]*?\d\S*(?: (?:million|billion|percent|thousand))?)", re.IGNORECASE),
    re.compile(rf"[从由自](?P<first>[^，；。]*?\d[^，；。]*?)(?P<change>(?:{_UP}|{_DOWN})了?)[至到](?P<last>了?\d[^，；。]*)"),
)  # fmt: skip


def comparison_problem(sentence: str) -> str:
    """The word by which a sentence contradicts its own two values; "" when it does not, or compares no two."""
    return _compared(sentence) or _changed(sentence)


def _compared(sentence: str) -> str:
    words = [(m, sign) for pattern, sign in ((_GREATER, 1), (_LESSER, -1)) for m in pattern.finditer(sentence)]
    if len(words) != 1:
        return ""
    word, sign = words[0]
    for (first, one), (second, other) in _pairs(sentence, bool(_OF_TIME.search(word.group()))):
        between = sentence[first:second]
        if one == other or not _TURN.search(between) or _EARLY.search(sentence[:first]):
            continue
        verb = bool(_VERB.fullmatch(word.group()) or word.group().lower().startswith("exceed"))
        if word.start() < first and verb:
            continue  # “above 5, of …”: it limits the first
        turns = _TURN.search(between)
        of_first = word.start() < first or verb or (turns is not None and word.start() <= first + turns.start())
        if (one > other) != (of_first == (sign > 0)):
            return f"“{word.group()}” is not so by the two values that this sentence compares."
    return ""


def _pairs(sentence: str, of_time: bool) -> Iterator[tuple[tuple[int, float], tuple[int, float]]]:
    """Place and size of two dates, or of two figures of one unit, where the sentence has no third."""
    values = values_of(sentence)
    kinds: list[list[tuple[str, float]]] = [
        [(n.shown, float(n.value)) for n in values.numbers if n.unit == unit]
        for unit in sorted({number.unit for number in values.numbers if number.unit})
    ]
    if of_time:
        days = [(d.shown, _day(d)) for d in values.dates]
        kinds = [days] if all(day for _, day in days) else []
    for found in kinds:
        if len(found) == 2:
            places = [re.search(rf"(?<![\d.,]){re.escape(shown)}", sentence) for shown, _ in found]
            if all(places) and found[0][0] != found[1][0]:
                (first, one), (second, other) = sorted(
                    (m.start(), size) for m, (_, size) in zip(places, found, strict=True) if m
                )
                yield (first, one), (second, other)


def _day(date: Date) -> float:
    """A number that grows with the date; 0.0 without a year."""
    return float(Day(date.year, date.month or 1, min(date.day or 1, 28)).toordinal()) if date.year else 0.0


def _changed(sentence: str) -> str:
    """A rise or fall from one figure to another which is the other way round."""
    words, *spans = _SPAN
    for span in spans:
        for match in span.finditer(sentence):
            before = (
                sentence[max(0, match.start() - 60) : match.start()]
                if "change" not in match.groupdict()
                else match["change"]
            )
            said = list(words.finditer(before))
            first, last = values_of(match["first"]).numbers, values_of(match["last"]).numbers
            if len(first) != 1 or not last or len(said) != 1:
                continue
            one, other = first[0], last[0]
            if (
                one.unit
                and one.unit == other.unit
                and one.value != other.value
                and (one.value < other.value) != bool(said[0]["up"])
            ):
                return f"“{said[0].group()}” is not so from “{one.shown}” to “{other.shown}”."
    return ""
