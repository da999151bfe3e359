"""Words that turn a statement round: more and less, must and may, all and some, before and after."""

from __future__ import annotations

# ruff: noqa: E501  a pattern is read in one line
import re
from collections import Counter
from collections.abc import Sequence

_POLES: tuple[tuple[str, str, str], ...] = (
    (
        "amount",
        r"(?<![不没未])(?:超过|高于|大于|多于|超出|逾)|不(?:低于|少于|小于)|至少|以上|"
        r"\b(?:more than|greater than|over(?= \W?\d)|above|exceed(?:s|ed|ing)?|at least|no less than|not less than|minimum)\b",
        r"(?<![不没未])(?:低于|小于|少于|不足|不到)|不(?:超过|高于|大于|多于|超出)|至多|以下(?!简称|称|[：:])|以内|"
        r"\b(?:less than|fewer than|under(?= \W?\d)|below|fell short of|at most|up to|no more than|not more than|not exceed\w*|maximum)\b",
    ),
    (
        "direction",
        r"增长|增加|上升|提高|提升|增至|升至|上涨|\b(?:increas\w+|rose|risen|rise|rises|grew|grow\w*|climb\w+|improv\w+|gain(?:s|ed)?|rais(?:ed?|ing))\b",
        r"下降|减少|降低|下滑|降至|下跌|缩减|\b(?:decreas\w+|fell|fallen|fall|falls|declin\w+|drop\w*|reduc\w+|shrank|shrink\w*|lower(?:ed|ing)|worsen\w*)\b",
    ),
    (
        "size",
        r"最高|最大|最多|最长|\b(?:highest|largest|greatest|most|biggest|longest|higher|larger|greater(?! than)|bigger)\b",
        r"最低|最小|最少|最短|\b(?:lowest|smallest|least(?<!at least)|fewest|shortest|smaller|lower|fewer(?! than))\b",
    ),
    (
        "time",
        r"之前|以前|早于|\b(?:before|prior to|earlier|preced\w+|until)\b",
        r"之后|以后|晚于|\b(?:after|later|subsequent\w*|following|since)\b",
    ),
    (
        "duty",
        r"(?<!不)(?:应当|应该|必须|须|有义务)|应(?=在|由|为|按|予|根|依|向|于|自|将|与)|"
        r"\b(?:must|shall|should|ought to|(?:is|are|was|were|be) (?:required|obliged|obligated) to|need(?:s|ed)? to|ha(?:s|ve|d) to)\b",
        r"可以(?!看|说)|有权|可(?=在|由|按|予|根|依|向|于|自|将|与)|\bmay\b(?! \d)|\b(?:can|could|might)\b|"
        r"\b(?:is|are|was|were|be) (?:allowed|permitted|entitled) to\b|\boptional\b",
    ),
    (
        "whole",
        r"所有|全部|一切|全体|每[个名位人条项次]?|各类|各个|\b(?:all|every|each|always|entire|whole|both)\b",
        r"(?<![全大])部分(?!组成)|某[个一些]|有些|一些|个别|(?<!大)少数|\b(?:some|sometimes|several|few|hardly any|partly|only one|occasionally|neither)\b",
    ),
    (
        "many",
        r"大多数|大部分|多数|\b(?:most|many|majority|often|usually)\b",
        r"(?<!大)少数|小部分|少部分|\b(?:few|minority|seldom|rarely)\b",
    ),
    (
        "only",
        r"(?<!不)(?:仅|只有|只能|只)(?!要)|\b(?<!not )only\b|\bsolely\b|\bexclusively\b",
        r"不仅|不只|不光|\bnot only\b",
    ),
)
_COMPILED = tuple((name, re.compile(high, re.IGNORECASE), re.compile(low, re.IGNORECASE)) for name, high, low in _POLES)


def opposite_problem(said: str, nearest: Sequence[str]) -> str:
    """The word of a statement for which the sentence it rests on has the opposite; "" when there is none.

    Args:
        nearest: the source's sentences that say nearly the same, best first. One that agrees clears the statement.
    """
    for _, high, low in _COMPILED:
        for own, other in ((high, low), (low, high)):
            mine, theirs = _words(own, said), _words(other, said)
            if mine and nearest and all(_turned(mine, theirs, text, own, other) for text in nearest):
                there = next(iter(_words(other, nearest[0]) - theirs))
                return f"The source says “{there}”, not “{next(iter(mine))}”."
    return ""


def _turned(mine: Counter[str], theirs: Counter[str], text: str, own: re.Pattern[str], other: re.Pattern[str]) -> bool:
    """Whether one such word of the statement is its opposite in this text, which has as many of them in all."""
    mine_there, theirs_there = _words(own, text), _words(other, text)
    return mine.total() > mine_there.total() and theirs_there.total() > theirs.total()


def _words(pattern: re.Pattern[str], text: str) -> Counter[str]:
    return Counter(match.group().lower() for match in pattern.finditer(text))
