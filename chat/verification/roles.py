"""Who does it: a name that acts in a sentence, to which the source only lets something be done."""

from __future__ import annotations

# ruff: noqa: E501  a pattern is read in one line
import re
from collections.abc import Iterator, Mapping, Sequence

from chat.facts.values import squash
from chat.verification.exchanged import formed_names, known_end
from chat.verification.places import Part
from core.text import HAN, present, segment

NEAR = 0.5
"""Share of a sentence's words, names aside, from which a source's sentence speaks of the same: docs/decisions/0022-answers.md."""
CLEARLY_LESS = 0.75
FEWEST = 3
REACH = 80
_NAME = r"[A-Z][\w’'&-]*(?: (?:of |& )?[A-Z][\w’'&-]*)*"
_ACTS = re.compile(rf"(?:^|, |; )(?P<name>{_NAME})\.? (?P<verb>[a-z]+ed|made|took|gave|won|bought|sold)\b")
_HAN_ACTS = re.compile(r"^(?:(?:首先|其次|此外|另外|随后|最后|接着)，?)?(?:[^，。]{0,12}，)?$")
_PASSIVE = re.compile(r"\b(?:was|were|is|are|be|been|being|by|with)\b[^,;]*$")
_ENGLISH_OBJECT = re.compile(
    r"\b(?:acquir\w+|acquisition|purchas\w+|equity|stake|shares|invest\w*)\b[^,.;]{0,25}\s(?:of|in|from)?\s?$|\b(?:acquir\w+|purchas\w+|bought|sued)\s$"
)
_HAN_OBJECT = re.compile(r"(?:对|收购了?|并购了?|投资了?|入股|起诉|控股)$")
_FORM = r"(?:股份|控股|集团)*(?:有限(?:责任)?公司)?"
_HAN_NO_ACT = re.compile(_FORM + r"(?:的|被|由|、|和|与|成立|是|位于|为)")
_OPENING = re.compile(r"\s*|(?:\w+,? )*(?:In|On|By) [\w ,]{3,20}, |(?:Additionally|Furthermore|Moreover|Also), ")
_ACT = re.compile(r"(?: [A-Z][\w.]*)*\.? (?!was |were |is |are |has been |became )[a-z]")
_TOGETHER = re.compile(
    r"\b(?:and|both|while|whereas|but|than|versus|vs|compared|with|between)\b|[和与及而均都；;比]|分别|同样",
    re.IGNORECASE,
)


def role_problem(sentence: str, parts: Sequence[Part]) -> str:
    """A name that does in a sentence what the source lets be done to it, or what it says of nobody by this name; or ""."""
    return _turned_problem(sentence, parts) or _acted_on_problem(sentence, parts)


def _turned_problem(sentence: str, parts: Sequence[Part]) -> str:
    """“Beta bought Alpha” where the source has Beta only after “bought”."""
    for match in _ACTS.finditer(sentence):
        stems = segment(match["verb"])
        name = match["name"].split()[-1]
        if not stems or len(stems[0]) < FEWEST:
            continue
        done_to = [part.text for part in parts for _ in _after(part.text, stems[0], name)]
        does = [part.text for part in parts if _before(part.text, stems[0], name)]
        if done_to and not does:
            return f"In the source “{match['name']}” is not who “{match['verb']}”."
    return ""


def _after(text: str, stem: str, name: str) -> Iterator[int]:
    """Places of a name that follows a word of this stem, neither of which is in the passive voice."""
    for verb in re.finditer(rf"\b{re.escape(stem)}\w*", text, re.IGNORECASE):
        between = re.match(rf"[^;.!?]{{0,{REACH}}}?\b{re.escape(name)}\b(?!['’]s)", text[verb.end() :])
        if (
            between
            and not _PASSIVE.search(text[: verb.start()][-20:])
            and not re.search(r"\b(?:by|with|to|for|,)\b", between.group())
        ):
            yield verb.end()


def _before(text: str, stem: str, name: str) -> bool:
    return bool(re.search(rf"\b{re.escape(name)}\b.*\b{re.escape(stem)}", text, re.IGNORECASE)) or bool(
        re.search(rf"\b{re.escape(stem)}\w*\b.*\bby\b.*\b{re.escape(name)}\b", text, re.IGNORECASE)
    )


def _acted_on_problem(sentence: str, parts: Sequence[Part]) -> str:
    """A name that acts, where the source has it nowhere but as what is bought, and says the rest of somebody else."""
    heads = squash(" ".join(dict.fromkeys(part.head for part in parts)) + parts[0].text.split("\n", 1)[0])
    whole = "\n".join(part.text for part in parts)
    for name in _acting(sentence):
        key = known_end(name, squash(whole))
        if not key or key in heads:
            continue
        mentions = [
            m.start() for m in re.finditer(re.escape(name[len(name) - len(key) :] if HAN.search(name) else name), whole)
        ]
        pattern = _HAN_OBJECT if HAN.search(name) else _ENGLISH_OBJECT
        if not mentions or not all(pattern.search(whole[max(0, at - 60) : at]) for at in mentions):
            continue
        own = {t for one in formed_names(sentence) for t in segment(one)}
        tokens = [t for t in dict.fromkeys(segment(sentence)) if t not in own and not any(c.isdigit() for c in t)]
        if len(tokens) < FEWEST:
            continue
        shares = [len(present(part.text, tokens)) / len(tokens) for part in parts]
        best = max(shares)
        close = [part for part, share in zip(parts, shares, strict=True) if share >= CLEARLY_LESS * best]
        if best >= NEAR and not any(key in squash(part.text) for part in close):
            return f"“{name}” stands in the source, but does not do this."
    return ""


def _acting(sentence: str) -> list[str]:
    """Names that open a sentence, a date or an “also” aside, and of which it says that they do something."""
    found = []
    for name in formed_names(sentence):
        before, _, after = sentence.partition(name)
        if HAN.search(name):
            acts = bool(_HAN_ACTS.match(before)) and not _HAN_NO_ACT.match(after)
        else:
            acts = bool(_OPENING.fullmatch(before)) and bool(_ACT.match(after))
        if acts:
            found.append(name)
    return found


def _opens_clause(sentence: str, name: str) -> bool:
    """Whether it is what a clause is about: two such clauses may speak of two sources, one after the other."""
    return bool(re.search(rf"(?:^|[，,;；、：:]\s*){re.escape(name)}", sentence))


def apart_problem(sentence: str, texts: Mapping[int, str]) -> str:
    """Two names of a sentence about one thing that no source has together, each having its own sources; or "".

    Args:
        texts: the sources by number.
    """
    if len(texts) < 2 or _TOGETHER.search(sentence):
        return ""
    letters = {number: squash(text) for number, text in texts.items()}
    whole = "".join(letters.values())
    owners: dict[str, frozenset[int]] = {}
    for name in formed_names(sentence):
        key = known_end(name, whole)
        having = frozenset(number for number, text in letters.items() if key and key in text)
        if 0 < len(having) < len(texts):
            owners[name] = having
    for name, having in owners.items():
        opens = _opens_clause(sentence, name)
        other = next(
            (o for o, h in owners.items() if not h & having and not (opens and _opens_clause(sentence, o))), ""
        )
        if other:
            return f"No source has both “{name}” and “{other}”."
    return ""
