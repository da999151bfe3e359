"""Why a sentence is marked, in the page's language: the checks say it in English, with the value in quotes."""

from __future__ import annotations

import re

from app.web.messages import say
from core.types import SentenceCheck

_KINDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), key)
    for pattern, key in (
        (r"The source does not mention (?P<value>.+)\.", "reason.not_mentioned"),
        (r"The date (?P<value>.+) is not in the source\.", "reason.date"),
        (r"The number (?P<value>.+) is not in the source\.", "reason.number"),
        (r"(?P<value>“.+”) is not in the source\.", "reason.name"),
        (r"(?P<value>“.+”) stands in the source, but not where it (?:speaks of|says) this\.", "reason.elsewhere"),
        (
            r"(?P<value>“.+”) stands in the source, but where it says this it has (?P<other>“.+”)\.",
            "reason.another_there",
        ),
        (r"(?P<value>“.+”) stands in the source, but does not do this\.", "reason.does_not_do"),
        (r"The source gives (?P<other>“.+”) for this, and (?P<value>“.+”) for something else\.", "reason.rival"),
        (r"(?P<value>“.+”) stands in another source than the one that this names\.", "reason.another_source"),
        (r"(?P<value>“.+”) and (?P<other>“.+”) stand in the source the other way round\.", "reason.swapped"),
        (r"The source says (?P<other>“.+”),? (?:not|where this says) (?P<value>“.+”)\.", "reason.says_other"),
        (r"Of (?P<about>“.+”) the source says (?P<other>“.+”), not (?P<value>“.+”)\.", "reason.says_other_of"),
        (r"(?P<value>“.+”) is not so by the two values that this sentence compares\.", "reason.comparison"),
        (r"(?P<value>“.+”) is not so from (?P<first>“.+”) to (?P<last>“.+”)\.", "reason.change"),
        (r"In the source (?P<value>“.+”) is not who (?P<other>“.+”)\.", "reason.not_who"),
        (r"No source has both (?P<value>“.+”) and (?P<other>“.+”)\.", "reason.not_both"),
        (r"(?P<value>“.+”) ends before it begins\.", "reason.ends_before"),
        (r"(?P<value>\[\d+\]) is not among the sources\.", "reason.no_such_source"),
        (r"(?P<value>“.+?”) stands in the source, but not for this: (?P<other>“.+”)\.", "reason.rival"),
        (r"(?P<value>“.+”) stands in the source with another unit: .+\.", "reason.unit"),
        (r"(?P<value>“.+”) stands only in the answer\.", "reason.negation_answer"),
        (r"(?P<value>“.+”) stands only in the source\.", "reason.negation_source"),
        (
            r"(?P<value>“.+”) is missing from the translation\. (?P<other>“.+”) is not in the original\.",
            "reason.lost_and_added",
        ),
        (r"(?P<value>“.+”) is missing from the translation\.", "reason.lost"),
        (r"(?P<value>“.+”) is not in the original\.", "reason.not_in_original"),
        (r"The model gave no translation of this part\.", "reason.not_translated"),
        (r"The source is in another language.*", "reason.other_language"),
        (r"Nothing in the source is close to it.*", "reason.not_close"),
        (r"The source is empty\.", "reason.empty"),
        (r"The model went away before this was checked\.", "reason.not_checked"),
        (r"It has no word that could be compared with the source\.", "reason.no_word"),
        (r"No source is cited\.|No passage bears this out\.", "reason.no_source"),
    )
)


def reason_text(check: SentenceCheck, language: str) -> str:
    """The verdict and its reason as a tooltip. A reason of a kind not known here is shown as it is."""
    verdict = say(f"verdict.{check.verdict.value}", language)
    if language == "en":
        return f"{verdict} {check.reason}"
    for pattern, key in _KINDS:
        if match := pattern.fullmatch(check.reason):
            return f"{verdict}{say(key, language, **match.groupdict())}"
    return f"{verdict}{check.reason}"
