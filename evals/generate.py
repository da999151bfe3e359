"""Questions made from what documents say, by templates; each with the sentence it rests on and marked as generated."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.text import detect_language, fold, split_sentences
from core.types import StoredChunk
from evals.question_sets import made_qid
from storage.quality import SetQuestion

LONGEST_ANSWER = 400
_HAN = r"\u4e00-\u9fff"
_VAGUE_ZH = re.compile(
    r"^(?:这|那|其|该|此|它|他|她|本条|前款|上述|以上|以下|因此|所以|但|而|并|同时|另外|此外|如果|例如|凡)"
)
_VAGUE_EN = re.compile(
    r"^(?:This|That|These|Those|It|There|He|She|They|We|You|What|Which|Who|Here|One|Such|Its|Their|His|Her|If|When|But|"
    r"And|Or|So|However|Please|Note|See|For example|In addition|As a result|Also)\b"
)
_MEANS_ZH = re.compile(
    rf"^(?:本(?:办法|规定|制度|法|条例|细则|协议|合同)所称(?:的)?)?[“\"]?(?P<term>[{_HAN}A-Za-z0-9·（）()-]{{2,18}}?)[”\"]?[，,]?"
    r"(?:是指|系指|指的是)(?P<text>.{6,})$"
)
_IS_ZH = re.compile(
    rf"^(?P<term>[{_HAN}A-Za-z0-9·]{{2,16}}?)是(?P<text>(?:一种|一个|一家|一项|一类|一款|位于|由(?!于)|用于|中国|世界|我国).{{6,}})$"
)
_MEANS_EN = re.compile(
    r"^(?:The |An? )?[“\"]?(?P<term>[A-Z][\w/&-]*(?: [\w/&-]+){0,4})[”\"]? "
    r"(?:means|refers to|is defined as|stands for) (?P<text>.{12,})$"
)
_IS_EN = re.compile(
    r"^(?:The )?(?P<term>[A-Z][\w/&-]*(?: [A-Z0-9][\w/&-]*){0,4}) (?P<verb>is|are) (?P<text>(?:an?|the) .{15,})$"
)
_ADVERB_ZH = re.compile(r"(?:主要|均|都|也|就|仍|不|还|曾|即|正|可能|并)$")
_UNCLEAN = re.compile(r"^[^\w“\"《]|\*\*|::|[{}<>|]")
_CLAUSE_ZH = re.compile(r"[，,；;]")
_ARTICLE_ZH = re.compile(r"^(?P<name>第[零〇一二三四五六七八九十百千0-9]+条)[\s\u3000：:]*(?P<text>.{10,})$")
_ARTICLE_EN = re.compile(r"^(?P<name>(?:Article|Section|Clause) \d[\d.]*)[.:]?\s+(?P<text>.{20,})$")
_UNIT_ZH = (
    "个工作日|个自然日|个小时|个月|万元|亿元|小时|分钟|公里|千米|平方米|元|天|日|周|年|人|名|次|倍|页|件|台|套|项|米|吨"
)
_NUMBER_ZH = re.compile(rf"(?<![\d.,第A-Za-z-])(?P<number>\d+(?:[.,]\d+)*)\s?(?P<unit>{_UNIT_ZH}|[%％])(?!\d)")
_NUMBER_EN = re.compile(
    r"(?<![\w.$€£-])(?P<number>\d+(?:[.,]\d+)*) (?P<unit>(?:calendar |business |working )?[a-z]{3,}s)\b(?! (?:of )?\d)"
)
_DATE = re.compile(r"\d{4}\s?年|\d\s?月|\b(?:19|20)\d\d\b|第\s?\d")
_GENERIC_HEADINGS = (
    "目录 附录 附件 前言 引言 总则 附则 概述 简介 说明 其他 备注 参考文献 结论 背景 contents appendix introduction "
    "overview summary conclusion references background notes general other misc index about faq"
)
_GENERIC = frozenset(_GENERIC_HEADINGS.split())
_NUMBERING = re.compile(
    r"^(?:第[一二三四五六七八九十百\d]+[章节条款部分篇]|[（(]?[一二三四五六七八九十\d]+[)）、.．]|[\d.]+)\s*"
)
_NUMERIC = re.compile(r"^[\s\d.,%％¥$€£+\-/:年月日万亿元]+$")


@dataclass(frozen=True, slots=True)
class Draft:
    """kind: definition, number, table, article or heading. evidence: the words of the document it rests on."""

    kind: str
    question: str
    answer: str
    evidence: str


def generate(
    documents: Sequence[Sequence[StoredChunk]],
    limit: int,
    seed: int = 1,
    write: Callable[[StoredChunk], Draft | None] | None = None,
) -> list[SetQuestion]:
    """At most `limit` questions, spread over the documents and over the kinds of question.

    Args:
        documents: the chunks of each document, in order.
        write: a language model's draft for a chunk, or None when it has none; then templates are used.
    """
    rng = random.Random(seed)
    queues = []
    for chunks in documents:
        order = list(chunks)
        rng.shuffle(order)
        queues.append(_drafts(order, write, rng))
    rng.shuffle(queues)
    found: dict[str, SetQuestion] = {}
    while queues and len(found) < limit:
        for queue in list(queues):
            made = next(queue, None)
            if made is None:
                queues.remove(queue)
                continue
            chunk, draft = made
            found.setdefault(fold(draft.question), _question(chunk, draft))
            if len(found) == limit:
                break
    return list(found.values())


def drafts_of(chunk: StoredChunk) -> list[Draft]:
    """Every question that the templates find in a chunk."""
    language = "zh" if detect_language(chunk.text) == "zh" else "en"
    title = chunk.title.strip() or PurePosixPath(chunk.path).stem
    sentences = _sentences(chunk)
    found = [
        *_definitions(sentences, language),
        *_numbers(sentences, title, language),
        *_table(chunk.text, title, language),
        *_articles(chunk.text, title, language),
        *_heading(chunk, sentences, title, language),
    ]
    return [draft for draft in found if len(draft.answer) <= LONGEST_ANSWER and len(draft.question) <= 200]


def _drafts(
    chunks: Sequence[StoredChunk], write: Callable[[StoredChunk], Draft | None] | None, rng: random.Random
) -> Iterator[tuple[StoredChunk, Draft]]:
    """Drafts of one document, the kinds in turn; chunks are looked at only as far as somebody asks."""
    waiting: dict[str, list[tuple[StoredChunk, Draft]]] = defaultdict(list)
    for chunk in chunks:
        written = write(chunk) if write else None
        if written is not None:
            yield chunk, written
            continue
        for draft in drafts_of(chunk):
            waiting[draft.kind].append((chunk, draft))
        if waiting:
            kinds = sorted(waiting)
            kind = rng.choice([name for name in kinds if name != "heading"] or kinds)
            yield waiting[kind].pop(0)
            if not waiting[kind]:
                del waiting[kind]
    for kind in sorted(waiting, key=lambda name: name == "heading"):
        yield from waiting[kind]


def _question(chunk: StoredChunk, draft: Draft) -> SetQuestion:
    data = {
        "gold_doc_ids": [chunk.path],
        "answers": [draft.answer],
        "evidence": [draft.evidence],
        "type": draft.kind,
        "source": {"ordinal": chunk.ordinal, "locator": chunk.locator.to_dict()},
    }
    return SetQuestion(made_qid(draft.question, "g"), draft.question, data, "generated")


def _sentences(chunk: StoredChunk) -> list[str]:
    """Whole sentences of running text: no headings, no table rows."""
    headings = {fold(name) for name in chunk.locator.heading}
    found = []
    for line in chunk.text.split("\n"):
        line = line.strip().lstrip("-*• ").strip()
        if " | " in line or fold(line) in headings:
            continue
        spans = split_sentences(line)
        found += [
            line[start:end].strip() for start, end in spans if line[start:end].strip()[-1:] in ("。", ".", "！", "；")
        ]
    return found


def _definitions(sentences: Sequence[str], language: str) -> Iterator[Draft]:
    for sentence in sentences:
        bare = sentence.rstrip("。.；！")
        if language == "zh":
            match = _MEANS_ZH.match(bare)
            if match and not _VAGUE_ZH.match(match["term"]):
                yield Draft("definition", f"{match['term']}是指什么？", match["text"], sentence)
            elif (match := _IS_ZH.match(bare)) and not _VAGUE_ZH.match(match["term"]):
                if _ADVERB_ZH.search(match["term"]):
                    continue
                yield Draft("definition", f"什么是{match['term']}？", match["text"], sentence)
        elif not _VAGUE_EN.match(bare):
            if match := _MEANS_EN.match(bare):
                yield Draft("definition", f"What does “{match['term']}” mean?", match["text"], sentence)
            elif match := _IS_EN.match(bare):
                yield Draft("definition", f"What {match['verb']} {match['term']}?", match["text"], sentence)


def _numbers(sentences: Sequence[str], title: str, language: str) -> Iterator[Draft]:
    """The sentence itself, asking for its only number; in Chinese up to the end of that clause."""
    for sentence in sentences:
        if _DATE.search(sentence) or len(re.findall(r"\d+(?:[.,]\d+)*", sentence)) != 1:
            continue
        if language == "zh":
            match = _NUMBER_ZH.search(sentence)
            if match is None or not 10 <= len(sentence) <= 60 or _VAGUE_ZH.match(sentence):
                continue
            rest = _CLAUSE_ZH.split(sentence[match.end() :].rstrip("。；！"))[0]
            asked = sentence[: match.start()] + "多少" + ("" if match["unit"] in "%％" else match["unit"]) + rest
            where = "" if title in sentence else f"据“{title}”，"
            yield Draft("number", f"{where}{asked}？", match.group(), sentence)
        elif 30 <= len(sentence) <= 160 and not _VAGUE_EN.match(sentence) and sentence[:1].isupper():
            match = _NUMBER_EN.search(sentence)
            if match is None:
                continue
            asked = sentence[: match.start()] + f"how many {match['unit']}" + sentence[match.end() :].rstrip(". ")
            where = "" if title in sentence else f"According to “{title}”: "
            yield Draft("number", where + (asked[:1].upper() + asked[1:]) + "?", match.group(), sentence)


def _table(text: str, title: str, language: str) -> Iterator[Draft]:
    rows = [[cell.strip() for cell in line.split(" | ")] for line in text.split("\n") if " | " in line]
    if len(rows) < 2:
        return
    header = rows[0]
    if len(set(header)) < len(header) or not all(header) or any(_NUMERIC.match(cell) for cell in header):
        return
    for row in rows[1:]:
        if len(row) != len(header) or row == header or not 1 < len(row[0]) <= 30 or _NUMERIC.match(row[0]):
            continue
        for name, value in list(zip(header, row, strict=True))[1:]:
            if not value or len(value) > 60 or len(name) > 30:
                continue
            evidence = " | ".join(row)
            if language == "zh":
                asks = "是多少" if _NUMERIC.match(value) else "是什么"
                yield Draft("table", f"在“{title}”中，{row[0]}的{name}{asks}？", value, evidence)
            else:
                yield Draft("table", f"According to “{title}”, what is the {name} of {row[0]}?", value, evidence)
            break


def _articles(text: str, title: str, language: str) -> Iterator[Draft]:
    for line in text.split("\n"):
        match = (_ARTICLE_ZH if language == "zh" else _ARTICLE_EN).match(line.strip())
        if not match:
            continue
        body = match["text"].strip()
        start, end = split_sentences(body)[0]
        first = body[start:end].strip()
        if len(first) < 8 or first.endswith((":", "：")):
            continue
        if language == "zh":
            yield Draft("article", f"《{title.strip('《》')}》{match['name']}是怎么规定的？", body, first)
        else:
            yield Draft("article", f"What does {match['name']} of “{title}” say?", body, first)


def _heading(chunk: StoredChunk, sentences: Sequence[str], title: str, language: str) -> Iterator[Draft]:
    if not chunk.locator.heading or not sentences:
        return
    name = _NUMBERING.sub("", chunk.locator.heading[-1].strip()).strip()
    plain = fold(name).strip("：:。. ")
    if not 2 <= len(name) <= 60 or plain in _GENERIC or plain == fold(title) or _NUMERIC.match(name):
        return
    fit = [one for one in sentences if len(one) >= (10 if language == "zh" else 25)]
    if not fit:
        return
    if language == "zh":
        yield Draft("heading", f"“{title}”中，关于“{name}”是怎么说的？", fit[0], fit[0])
    else:
        yield Draft("heading", f"What does “{title}” say about “{name}”?", fit[0], fit[0])
