"""Values of fields in a document, found by labels, tables and patterns; each stands in the document as it is given."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chat.facts.values import names_of, squash
from chat.tasks.fields import Field
from core.text import present, split_sentences
from core.types import StoredChunk

LONGEST_VALUE = 120
LONGEST_SENTENCE = 200
NEAR = 40
"""Characters behind a label within which its value is looked for."""
_CN = "〇零○一二三四五六七八九十"
_MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?|"
    "Nov(?:ember)?|Dec(?:ember)?"
)
_DATE = (
    rf"[{_CN}\d]{{2,4}}\s*年\s*[{_CN}\d]{{1,3}}\s*月(?:\s*[{_CN}\d]{{1,3}}\s*[日号])?|"
    r"(?<!\d)\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?!\d)|(?<!\d)\d{1,2}[-/.]\d{1,2}[-/.]\d{4}(?!\d)|"
    rf"\b(?:{_MONTHS})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b|"
    rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{_MONTHS})\.?,?\s+\d{{4}}\b|\b(?:{_MONTHS})\.?,?\s+\d{{4}}\b"
)
_FIGURE = r"\d[\d,]*(?:\.\d+)?"
_SCALE = r"(?:\s*(?:million|billion|thousand|bn|mn|[mk])\b|万亿|千万|百万|万|亿)?"
_CURRENCY = r"(?:人民币|元整?|美元|欧元|港元|英镑|日元|yuan\b|dollars?\b|euros?\b|USD\b|EUR\b|RMB\b|CNY\b)"
_AMOUNT = (
    rf"(?:人民币|RMB|CNY|USD|EUR|GBP|HKD|US\$|[¥￥$€£])\s*{_FIGURE}{_SCALE}\s*(?:元整?)?|"
    rf"{_FIGURE}{_SCALE}\s*{_CURRENCY}|{_FIGURE}(?:万亿|万|亿)(?=[，,。；;、\s)）]|$)|"
    r"[壹贰叁肆伍陆柒捌玖拾佰仟万亿零]{2,}[元圆]整?"
)
_PHONE = (
    r"(?<![\d-])(?:\+\d{1,3}(?:[ -]?\(?\d{2,8}\)?){1,4}|1[3-9]\d{9}|1[3-9]\d[- ]\d{4}[- ]\d{4}|"
    r"\(?0\d{2,3}\)?[- ]?\d{7,8}(?:-\d{1,5})?|\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}|400[- ]?\d{3}[- ]?\d{4})(?![\d-])"
)
_NUMBER = (
    rf"{_FIGURE}\s*(?:[个天日年月人名件台份平次][\u4e00-\u9fff]?|[\u4e00-\u9fff]{{1,2}}(?![\u4e00-\u9fff])|"
    r"(?:days?|months?|years?|hours?|weeks?|people|persons?|employees|units?|pieces?)\b)?"
)
_ID = r"[A-Za-z]*[（(〔\[]\d{4}[）)〕\]][\u4e00-\u9fff\d]{0,14}号|[A-Za-z0-9][\w./()#-]*\d[\w./()#-]*|\d{2,}"
PATTERNS = {
    "date": re.compile(_DATE, re.IGNORECASE),
    "amount": re.compile(_AMOUNT, re.IGNORECASE),
    "percent": re.compile(rf"{_FIGURE}\s*(?:[%％‰]|percent\b)|百分之[{_CN}百点\d]+", re.IGNORECASE),
    "email": re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"),
    "phone": re.compile(_PHONE),
    "number": re.compile(_NUMBER),
    "id": re.compile(_ID),
}
_LABEL_END = re.compile(r"[:：]")
_LABEL_START = re.compile(r"[\t|,，;；。、]|\s{2,}|[\u4e00-\u9fff）)\d]\s(?=[\u4e00-\u9fff])")
_VALUE_END = re.compile(r"\n|\t|\s{2,}|[;；|。]|\s(?=[^\s:：]{2,12}[:：])")
_ASIDE = re.compile(r"[（(【\[][^）)】\]]{0,20}[）)】\]]")
_SAYS = r"(?:[:：]|为人民币|为|是|is|was|are|were|shall be|will be|=)"
_PLACEHOLDER = re.compile(r"^[\s_＿\-—/／.…*＊×xX()（）【】\[\]]*$|_{3,}|\{\{")
_ABBREVIATED = re.compile(r"\b(?:Ltd|Inc|Co|Corp|S\.A|Jr|Sr|No)\.$")
_KIND_WORD = re.compile(r"(?:日期|时间|年月|date|time)$|^(?:date|time) of\s+", re.IGNORECASE)
_DATED = re.compile(
    r"[\s:：]*(?:日期|时间|date)?[\s:：]*(?:于|在|为|是|定为|is|was|on|in|of|by|shall be)?[\s:：]*", re.IGNORECASE
)
_PERIOD = re.compile(r"\d{4}\s*年度?(?:\d{1,2}\s*月)?|\b(?:19|20)\d{2}\b")


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a field. quote: the line or sentence it stands in. how: which rule, or model."""

    value: str
    chunk: StoredChunk
    quote: str
    how: str


def find_cell(field: Field, chunks: Sequence[StoredChunk]) -> Cell | None:
    """The value of a field in a document; None rather than a guess.

    In this order: behind its label and a colon; beside or below its label in a table; first under a heading of that
    name; in a sentence that says what it is; the only value of its kind in sentences that have all words of the name,
    or (e-mail, phone) in the document.
    """
    for find in (_labelled, _tabled, _headed, _said):
        for chunk in chunks:
            for cell in find(field, chunk):
                return cell
    return _only(field, chunks)


def stands_in(value: str, text: str) -> bool:
    """Whether a value stands in a text letter by letter, spaces and width aside, its digits not inside longer ones."""
    wanted, letters = squash(value), squash(text)
    if not wanted:
        return False
    left = r"(?<!\d)" if wanted[0].isdigit() else ""
    right = r"(?!\d)" if wanted[-1].isdigit() else ""
    if not re.search(left + re.escape(wanted) + right, letters):
        return False
    # squash runs numbers together: what a number touches must hold in the text itself, too
    digits = re.findall(r"\d[\d,]*(?:\.\d+)?", unicodedata.normalize("NFKC", value))
    folded = unicodedata.normalize("NFKC", text)
    return all(re.search(rf"(?<![\d.]){re.escape(number)}(?!\.?\d)", folded) for number in digits)


def _labelled(field: Field, chunk: StoredChunk) -> Iterator[Cell]:
    text = chunk.text
    for colon in _LABEL_END.finditer(text):
        line_start = text.rfind("\n", 0, colon.start()) + 1
        before = text[line_start : colon.start()]
        starts = [m.end() for m in _LABEL_START.finditer(before)]
        if not any(_names(field, before[start:]) for start in [0, *starts]):
            continue
        end = _VALUE_END.search(text, colon.end())
        raw = text[colon.end() : end.start() if end else len(text)]
        if not raw.strip() and end is not None and end.group() == "\n":
            following = text[end.end() :].partition("\n")[0]
            raw = following if not _LABEL_END.search(following) else ""
        line_end = text.find("\n", colon.end())
        quote = text[line_start : line_end if line_end > 0 else len(text)]
        value = fit(field, raw)
        if value:
            yield Cell(value, chunk, quote if stands_in(value, quote) else f"{quote}\n{raw}", "label")


def _names(field: Field, label: str) -> bool:
    """Whether a label is the field's name or one that means the same; what stands in brackets aside."""
    bare = squash(re.sub(r"^\W*(?:\d{1,2}[.、)]|[一二三四五六七八九十]+、)?", "", _ASIDE.sub("", label)))
    return bare in field.labels or (bare.endswith(field.labels[0]) and len(bare) <= len(field.labels[0]) + 3 > 4)


def _tabled(field: Field, chunk: StoredChunk) -> Iterator[Cell]:
    rows = [[cell.strip() for cell in line.split(" | ")] for line in chunk.text.split("\n")]
    for number, row in enumerate(rows):
        if len(row) < 2:
            continue
        at = next((i for i, cell in enumerate(row) if _names(field, cell.rstrip(":："))), None)
        if at is None:
            continue
        below = [other for other in rows[number + 1 :] if len(other) == len(row)]
        is_header = len(row) > 2 and bool(below) and all(not re.search(r"\d", cell) for cell in row)
        if not is_header and at + 1 < len(row):
            value = fit(field, row[at + 1])
            if value:
                yield Cell(value, chunk, " | ".join(row), "table")
        elif is_header and len(below) == 1:  # with more rows there is no saying which is meant
            value = fit(field, below[0][at])
            if value:
                yield Cell(value, chunk, " | ".join(row) + "\n" + " | ".join(below[0]), "table")


def _headed(field: Field, chunk: StoredChunk) -> Iterator[Cell]:
    """The first sentence under a heading that is the field's name."""
    if field.kind != "text" or not chunk.locator.heading or not _names(field, chunk.locator.heading[-1]):
        return
    for start, end in split_sentences(chunk.text):
        value = " ".join(chunk.text[start:end].split())
        if len(value) <= LONGEST_SENTENCE and not _names(field, value) and not value.endswith((":", "：")):
            yield Cell(value, chunk, value, "heading")


def _said(field: Field, chunk: StoredChunk) -> Iterator[Cell]:
    for start, end in split_sentences(chunk.text):
        sentence = chunk.text[start:end]
        for label in _written(field, sentence):
            value = _behind(field, sentence[label.end() :]) or _before(field, sentence[: label.start()])
            if value and stands_in(value, sentence):
                yield Cell(value, chunk, sentence.strip(), "says")


def _behind(field: Field, rest: str) -> str:
    if field.kind in ("text", "name"):
        match = re.match(rf"\s*{_SAYS}\s*([^，,。；;\n|]{{2,60}})", rest)
        value = fit(field, match.group(1)) if match else ""
        return value if names_of(value) else ""  # `被告人系初犯` says what he is, not who
    found = PATTERNS[field.kind].search(rest[:NEAR])
    if found and field.kind == "date" and not _DATED.fullmatch(rest[: found.start()]):
        return ""
    gap = _PERIOD.sub("", rest[: found.start()]) if found else ""
    return found.group().strip() if found and not re.search(r"[。；;\n|]|\d", gap) else ""


def _before(field: Field, text: str) -> str:
    """`1亿元的营业收入`"""
    pattern = PATTERNS.get(field.kind)
    last = next(reversed(list(pattern.finditer(text))), None) if pattern and text.endswith("的") else None
    return last.group().strip() if last and last.end() == len(text) - 1 else ""


def _written(field: Field, sentence: str) -> Iterator[re.Match[str]]:
    """Places where a sentence has one of the field's names; of a date also what is dated: 成立 of 成立日期."""
    stem = _KIND_WORD.sub("", field.name).strip() if field.kind == "date" else ""
    for name in dict.fromkeys([*field.names, *([stem] if len(stem) > 1 else [])]):
        edge = r"\b" if name.isascii() else ""
        yield from re.finditer(f"{edge}{re.escape(name)}{edge}", sentence, re.IGNORECASE)


def _only(field: Field, chunks: Sequence[StoredChunk]) -> Cell | None:
    pattern = PATTERNS.get(field.kind)
    if pattern is None or field.kind in ("id", "number"):
        return None
    if field.kind in ("email", "phone"):
        return _only_in_document(pattern, chunks)
    if len(field.tokens) < 2:
        return None
    found: list[Cell] = []
    for chunk in chunks:
        for start, end in split_sentences(chunk.text):
            sentence = chunk.text[start:end]
            values = {squash(m.group()): m.group().strip() for m in pattern.finditer(sentence)}
            if len(values) == 1 and len(present(sentence, field.tokens)) == len(field.tokens):
                found.append(Cell(next(iter(values.values())), chunk, sentence.strip(), "pattern"))
    return found[0] if len({squash(cell.value) for cell in found}) == 1 else None


def _only_in_document(pattern: re.Pattern[str], chunks: Sequence[StoredChunk]) -> Cell | None:
    found: dict[str, Cell] = {}
    for chunk in chunks:
        for match in pattern.finditer(chunk.text):
            line_start = chunk.text.rfind("\n", 0, match.start()) + 1
            line = chunk.text[line_start:].partition("\n")[0]
            found.setdefault(squash(match.group()), Cell(match.group().strip(), chunk, line, "pattern"))
    return next(iter(found.values())) if len(found) == 1 else None


def fit(field: Field, raw: str) -> str:
    """The value of the field's kind in a raw text, as written there; "" when there is none."""
    text = raw.strip().strip("*_` ").strip()
    if not text or _PLACEHOLDER.search(text):
        return ""
    if field.kind == "name":
        text = re.split(r"[，（(]|,(?=\s*[a-z\u4e00-\u9fff男女])", text)[0].strip()
    if field.kind in ("text", "name"):
        bare = text.rstrip("，,;；、 ") if _ABBREVIATED.search(text) else text.rstrip("，,。.;；、 ")
        return bare if len(bare) <= LONGEST_VALUE else ""
    match = PATTERNS[field.kind].search(text)
    if match:
        return match.group().strip().rstrip("，,。.;；")
    return text if field.kind == "amount" and re.fullmatch(_FIGURE, text) else ""
