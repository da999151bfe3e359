"""The chunker: nothing lost, order kept, never over the window, places exact. Half of it as property tests."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings import IngestSettings
from core.types import Block, BlockKind, Box, Locator, NewChunk, ParsedDocument
from ingest.chunk import chunk_document
from ingest.parse import document_text
from models.fakes import FakeTokenizer
from tests.work import calls

SETTINGS = IngestSettings(chunk_tokens=40, chunk_overlap=10)


class CharacterTokenizer(FakeTokenizer):
    """Every character is a token: the worst case for anything that counts in words."""

    def count(self, text: str) -> int:
        return len(text) + 2

    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [(at, at + 1) for at in range(len(text))]


def document(*blocks: Block, title: str = "Manual") -> ParsedDocument:
    return ParsedDocument(tuple(blocks), "text/plain", title=title)


def heading(text: str, level: int = 1) -> Block:
    return Block(BlockKind.HEADING, text, level=level)


def paragraph(text: str, place: Locator | None = None) -> Block:
    return Block(BlockKind.PARAGRAPH, text, place or Locator())


def squeezed(text: str) -> str:
    return "".join(text.split())


def check(parsed: ParsedDocument, chunks: list[NewChunk], tokenizer: FakeTokenizer) -> None:
    text = document_text(parsed)
    covered = [False] * len(text)
    starts = []
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert chunk.n_tokens == tokenizer.count(chunk.embedded_text) <= tokenizer.max_tokens
        assert chunk.text.strip() and chunk.locator.chars is not None
        start, end = chunk.locator.chars
        assert chunk.text.endswith(text[start:end])
        above = chunk.text[: len(chunk.text) - (end - start)].rstrip("\n")
        for line in above.replace(" > ", "\n").split("\n"):  # whatever is repeated stands in the document before
            assert any(line in block.header.replace(" > ", "\n") for block in parsed.blocks) or (
                line.strip() in text[:start].replace(" > ", "\n")
            )
        covered[start:end] = [True] * (end - start)
        starts.append(start)
    assert starts == sorted(starts)
    shown = [chunk.context for chunk in chunks] + [name for chunk in chunks for name in chunk.locator.heading]
    position = 0
    for block in parsed.blocks:
        length = len(document_text(document(block)))
        missing = [at for at in range(position, position + length) if not covered[at] and not text[at].isspace()]
        if missing:
            assert block.kind is BlockKind.HEADING and any(block.text in line for line in shown)
        position += length + 2


words = st.text(st.sampled_from("abc de.。！？，;\n员工手册规定"), min_size=1, max_size=150).filter(
    lambda text: any(ch.isalnum() for ch in text)
)
lines = st.text(st.sampled_from("abc 规定1|"), min_size=1, max_size=60).filter(
    lambda text: any(c.isalnum() for c in text)
)
blocks = st.one_of(
    st.builds(lambda text: paragraph(text.strip("\n ")), words),
    st.builds(lambda text, level: heading(" ".join(text.split()), level), words, st.integers(1, 6)),
    st.builds(lambda rows: Block(BlockKind.TABLE, "\n".join(rows)), st.lists(lines, min_size=1, max_size=9)),
    st.builds(
        lambda rows, header: Block(BlockKind.TABLE, "\n".join(rows), header=header),
        st.lists(lines, min_size=1, max_size=9),
        st.sampled_from(["name | city", "部门 | 金额 | 日期"]),
    ),
    st.builds(lambda text: Block(BlockKind.CODE, text), words.map(lambda text: text.strip("\n "))),
    st.builds(
        lambda items: Block(BlockKind.LIST, "\n".join("  " * depth + f"- {text}" for depth, text in items)),
        st.lists(st.tuples(st.integers(0, 2), lines), min_size=1, max_size=9),
    ),
).filter(lambda block: block.text.strip() != "")


@given(st.lists(blocks, min_size=1, max_size=12), words, st.booleans())
def test_all_text_is_covered_in_order_within_the_window_and_offsets_slice_back(items, title, by_character) -> None:
    tokenizer = CharacterTokenizer(60) if by_character else FakeTokenizer(60)
    parsed = document(*items, title=" ".join(title.split()))
    check(parsed, chunk_document(parsed, tokenizer, SETTINGS), tokenizer)


@given(st.integers(100, 3000), st.sampled_from(["规", "a", "ab ", "规定，", "x,y;"]), st.integers(20, 80))
def test_one_sentence_over_the_window_is_cut_and_loses_nothing(length, unit, window) -> None:
    tokenizer = CharacterTokenizer(window)
    parsed = document(paragraph((unit * length)[:length].strip()))
    chunks = chunk_document(parsed, tokenizer, IngestSettings(chunk_tokens=32, chunk_overlap=0))
    check(parsed, chunks, tokenizer)
    assert squeezed("".join(chunk.text for chunk in chunks)) == squeezed(parsed.blocks[0].text)


def test_a_prefix_of_the_embedder_is_left_free() -> None:
    parsed = document(paragraph("word " * 200))
    for chunk in chunk_document(parsed, FakeTokenizer(60), IngestSettings(chunk_tokens=200), reserved=9):
        assert chunk.n_tokens <= 51


def test_sentences_are_not_cut_and_whole_ones_overlap() -> None:
    sentences = [f"Sentence number {n} says something about item {n}." for n in range(20)]
    chunks = chunk_document(document(paragraph(" ".join(sentences))), FakeTokenizer(100), SETTINGS)
    assert len(chunks) > 3
    for chunk in chunks:
        assert chunk.text.startswith("Sentence") and chunk.text.endswith(".")
    for before, after in itertools.pairwise(chunks):
        assert before.text.split(". ")[-1].rstrip(".") == after.text.split(". ")[0].rstrip(".")


def test_the_context_line_names_title_and_headings_and_the_text_does_not_repeat_them() -> None:
    parsed = document(heading("Leave"), heading("Sick leave", 2), paragraph("Bring a certificate."), title="Handbook")
    [chunk] = chunk_document(parsed, FakeTokenizer(), SETTINGS)
    assert chunk.context == "Handbook > Leave > Sick leave"
    assert chunk.text == "Bring a certificate."
    assert chunk.locator.heading == ("Leave", "Sick leave")


def test_a_long_heading_path_keeps_the_innermost_heading() -> None:
    long = heading("Very long chapter name " * 6)
    parsed = document(long, heading("Fees", 2), paragraph("Ten euros."), title=("Title " * 20).strip())
    [chunk] = chunk_document(parsed, FakeTokenizer(), SETTINGS)
    assert chunk.context == "Title " * 20 + "> Fees"
    assert "Very long chapter name" in chunk.text


def test_small_sections_share_a_chunk_and_large_ones_do_not() -> None:
    small = [block for n in range(3) for block in (heading(f"Question {n}", 2), paragraph(f"Answer {n}."))]
    [chunk] = chunk_document(document(*small), FakeTokenizer(), SETTINGS)
    assert chunk.text == "Question 0\n\nAnswer 0.\n\nQuestion 1\n\nAnswer 1.\n\nQuestion 2\n\nAnswer 2."
    assert chunk.context == "Manual", "no heading above the chunk that holds for one part of it only"
    large = [
        block for n in range(2) for block in (heading(f"Part {n}", 2), paragraph(f"Long text about part {n}. " * 5))
    ]
    assert [chunk.locator.heading for chunk in chunk_document(document(*large), FakeTokenizer(), SETTINGS)] == [
        ("Part 0",),
        ("Part 1",),
    ]


def test_a_chunk_of_several_sections_is_placed_under_what_they_share() -> None:
    sections = [block for n in range(2) for block in (heading(f"Part {n}", 2), paragraph(f"Short {n}."))]
    chunks = chunk_document(document(heading("Rules"), *sections), FakeTokenizer(), SETTINGS)
    assert [chunk.locator.heading for chunk in chunks] == [("Rules",)]
    assert chunks[0].context == "Manual > Rules"
    assert chunks[0].text == "Part 0\n\nShort 0.\n\nPart 1\n\nShort 1."


def test_the_end_of_a_long_section_keeps_its_heading_when_a_small_one_joins_it() -> None:
    long = " ".join(f"Sentence {n} of the long part says something." for n in range(7))
    parsed = document(heading("Long part", 2), paragraph(long), heading("Short part", 2), paragraph("Few words."))
    chunks = chunk_document(parsed, FakeTokenizer(64), IngestSettings(chunk_tokens=48, chunk_overlap=0))
    assert [chunk.context for chunk in chunks] == ["Manual > Long part", "Manual"]
    assert chunks[-1].text.startswith("Long part\nSentence 5") and "\n\nShort part\n\nFew words." in chunks[-1].text
    assert chunks[-1].locator.heading == ()


def test_a_heading_is_never_alone() -> None:
    parsed = document(heading("Empty", 1), heading("Also empty", 1), paragraph("Text."), heading("Last", 1))
    [chunk] = chunk_document(parsed, FakeTokenizer(), SETTINGS)
    assert "Empty" in chunk.text and chunk.text.endswith("Last")


def test_slides_do_not_share_a_chunk() -> None:
    slides = [
        block
        for n in (1, 2)
        for block in (
            Block(BlockKind.HEADING, f"Slide {n}", Locator(slide=n), 2),
            paragraph("Few words.", Locator(slide=n)),
        )
    ]
    assert [chunk.locator.slide for chunk in chunk_document(document(*slides), FakeTokenizer(), SETTINGS)] == [1, 2]


def test_rows_are_never_cut_and_every_chunk_of_a_table_has_its_header() -> None:
    rows = [f"Item {n} | {n * 10} euros | shelf {n}" for n in range(30)]
    place = Locator(sheet="Stock", cells="A2:C31")
    table = Block(BlockKind.TABLE, "\n".join(rows), place, header="Item | Price | Shelf")
    chunks = chunk_document(document(table), FakeTokenizer(100), SETTINGS)
    assert len(chunks) > 4
    seen = []
    for chunk in chunks:
        header, *body = chunk.text.split("\n")
        assert header == "Item | Price | Shelf"
        first, last = rows.index(body[0]) + 2, rows.index(body[-1]) + 2
        assert chunk.locator.cells == f"A{first}:C{last}"
        seen += body
    assert seen == rows


ITEMS = [f"- Rule {n}: leave of at least {n + 10} days. Ask in time." for n in range(24)]


def test_items_are_never_cut_and_later_parts_of_a_list_repeat_what_leads_into_it() -> None:
    intro = "This part is about leave. Employees are entitled to:"
    parsed = document(paragraph(intro), Block(BlockKind.LIST, "\n".join(ITEMS)))
    chunks = chunk_document(parsed, FakeTokenizer(100), IngestSettings(chunk_tokens=60, chunk_overlap=0))
    assert len(chunks) > 3
    assert chunks[0].text.startswith(intro)
    seen = []
    for chunk in chunks[1:]:
        lead, *items = chunk.text.split("\n")
        assert lead == "Employees are entitled to:"
        seen += items
    assert seen == ITEMS[-len(seen) :] and all(item in ITEMS for item in seen)


@pytest.mark.parametrize(
    ("above", "leads"), [("以下情形应当审批：", True), ("Rules for all.", True), ("Hello all. Bye now.", False)]
)
def test_only_a_sentence_that_leads_into_a_list_is_repeated(above: str, leads: bool) -> None:
    parsed = document(paragraph(above), Block(BlockKind.LIST, "\n".join(ITEMS)))
    chunks = chunk_document(parsed, FakeTokenizer(100), IngestSettings(chunk_tokens=60, chunk_overlap=0))
    assert all((above in chunk.text) == leads for chunk in chunks[1:])


def test_a_list_that_fits_stays_whole_with_the_sentence_above_it() -> None:
    before = " ".join(f"Sentence {n} of the part before." for n in range(6))
    parsed = document(paragraph(before + " Fees are due:"), Block(BlockKind.LIST, "\n".join(ITEMS[:3])))
    chunks = chunk_document(parsed, FakeTokenizer(100), IngestSettings(chunk_tokens=60, chunk_overlap=0))
    assert chunks[-1].text == "\n".join(["Fees are due:", *ITEMS[:3]])


def test_an_item_inside_another_is_shown_under_it() -> None:
    inner = [f"  - City {n}: {n} euros a night with breakfast." for n in range(20)]
    parsed = document(paragraph("Hotels cost at most:"), Block(BlockKind.LIST, "\n".join(["- Abroad", *inner])))
    chunks = chunk_document(parsed, FakeTokenizer(100), IngestSettings(chunk_tokens=60, chunk_overlap=0))
    assert len(chunks) > 2
    for chunk in chunks[1:]:
        assert chunk.text.split("\n")[:2] == ["Hotels cost at most:", "- Abroad"]


def test_an_over_long_item_is_cut_at_its_sentences() -> None:
    item = "- " + " ".join(f"Sentence {n} of one very long item." for n in range(30))
    chunks = chunk_document(document(Block(BlockKind.LIST, item)), FakeTokenizer(100), SETTINGS)
    assert len(chunks) > 3 and all(chunk.text.endswith(".") for chunk in chunks)


SENTENCES = [
    "根据《员工手册》第3.2条，年假不少于15天。",
    "他说：“可以。”",
    "真的吗？",
    "甲方应当付款；",
    "See https://intranet.example/a?b=1;c=2!d for Fig. 3, e.g. the U.S. plan.",
    "It costs 3.5 million, says Dr. Meyer.",
    "Really?!",
    "He said “stop!” ",
]


@given(st.lists(st.sampled_from(SENTENCES), min_size=5, max_size=60), st.integers(32, 60))
def test_no_sentence_is_cut_in_either_language(sentences: list[str], size: int) -> None:
    body = " ".join(sentences)
    chunks = chunk_document(
        document(paragraph(body)), FakeTokenizer(120), IngestSettings(chunk_tokens=size, chunk_overlap=0)
    )
    ends = {0}
    for sentence in sentences:
        ends.add(max(ends) + len(sentence) + 1)
    text = " ".join(sentences)
    for chunk in chunks:
        start, end = chunk.locator.chars or (0, 0)
        assert start in ends or not text[:start].strip() or text[start - 1] in "？。；”!"
        assert end >= len(text.rstrip()) or any(end <= one <= end + 2 for one in ends)


@given(st.lists(blocks, min_size=1, max_size=12))
def test_the_line_above_a_chunk_names_only_headings_that_hold_for_all_of_it(items: list[Block]) -> None:
    parsed = document(*items, title="Manual")
    for chunk in chunk_document(parsed, FakeTokenizer(200), IngestSettings(chunk_tokens=120, chunk_overlap=0)):
        names = [part for part in chunk.context.split(" > ") if part]
        assert all(any(name in one for one in ("Manual", " > ".join(chunk.locator.heading))) for name in names)


def test_places_are_the_union_of_the_blocks() -> None:
    first = paragraph("First part.", Locator(page=1, page_end=1, boxes=(Box(1, 0, 0, 10, 10),)))
    second = paragraph("Second part.", Locator(page=2, page_end=2, boxes=(Box(2, 0, 0, 5, 5),)))
    [chunk] = chunk_document(document(first, second), FakeTokenizer(), SETTINGS)
    assert (chunk.locator.page, chunk.locator.page_end) == (1, 2)
    assert chunk.locator.boxes == (Box(1, 0, 0, 10, 10), Box(2, 0, 0, 5, 5))


def test_lines_of_a_part_of_a_block_are_narrowed() -> None:
    text = "\n".join(f"Line {n} has exactly seven words here." for n in range(20))
    chunks = chunk_document(document(paragraph(text, Locator(lines=(11, 30)))), FakeTokenizer(), SETTINGS)
    for chunk in chunks:
        numbers = [int(line.split()[1]) for line in chunk.text.split("\n")]
        assert chunk.locator.lines == (11 + numbers[0], 11 + numbers[-1])


def test_no_blocks_give_no_chunks() -> None:
    assert chunk_document(document(), FakeTokenizer(), SETTINGS) == []


class CountingTokenizer(FakeTokenizer):
    """Counts what it was given instead of looking at it."""

    characters = 0

    def count(self, text: str) -> int:
        self.characters += len(text)
        return len(text) // 5 + 2


@pytest.mark.parametrize("in_one_block", [False, True])
def test_the_work_of_chunking_grows_with_the_text_and_no_faster(in_one_block: bool) -> None:
    """What is counted: functions called, and characters given to the tokenizer."""

    def work(sentences: int) -> tuple[int, int]:
        texts = [f"Sentence {n} of a long report about nothing. " * 10 for n in range(sentences // 10)]
        body = [paragraph(" ".join(texts))] if in_one_block else [paragraph(text) for text in texts]
        tokenizer = CountingTokenizer()
        made = calls(lambda: chunk_document(document(*body), tokenizer, IngestSettings()))
        return made, tokenizer.characters

    work(100)  # what is done once only
    (few_calls, few_characters), (many_calls, many_characters) = work(1_000), work(8_000)
    assert 7 < many_calls / few_calls < 9 and 7 < many_characters / few_characters < 9
