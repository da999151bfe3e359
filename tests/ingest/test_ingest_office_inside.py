"""What Office files carry besides their own text: other files, inserted pages, pictures with letters, readings."""

from __future__ import annotations

import importlib.util
import io
import re
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from core.errors import UnreadableError
from core.types import BlockKind
from ingest.parsers import EXTENSIONS, Limits
from ingest.parsers.embedded import unwrapped


def _loaded(name: str):
    spec = importlib.util.spec_from_file_location(f"ingest_inside_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


samples, ole_samples = _loaded("samples"), _loaded("ole_samples")


def changed(data: bytes, changes: dict[str, bytes | tuple[bytes, bytes]]) -> bytes:
    """A zip with members replaced, added, or changed by (old, new)."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        if isinstance(change, tuple):
            assert change[0] in members[name]
            members[name] = members[name].replace(*change)
        else:
            members[name] = change
    return bytes(samples.zipped(members))


def word(text: str) -> bytes:
    return bytes(samples.docx(lambda document: document.add_paragraph(text)))


def letters(text: str) -> io.BytesIO:
    image = Image.new("RGB", (700, 160), "white")
    ImageDraw.Draw(image).text((40, 50), text, fill="black", font=ImageFont.load_default(44))
    raw = io.BytesIO()
    image.save(raw, "PNG")
    raw.seek(0)
    return raw


WORD = b"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
SLIDES = b"application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.docm", b"application/vnd.ms-word.document.macroEnabled.main+xml"),
        ("a.dotx", b"application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml"),
        ("a.dotm", b"application/vnd.ms-word.template.macroEnabledTemplate.main+xml"),
    ],
)
def test_word_files_with_macros_and_templates_are_read_as_documents(parse, name: str, kind: bytes) -> None:
    data = changed(word("Travel needs approval."), {"[Content_Types].xml": (WORD, kind)})
    assert parse(name, data).blocks[0].text == "Travel needs approval."


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pptm", b"application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml"),
        ("a.potx", b"application/vnd.openxmlformats-officedocument.presentationml.template.main+xml"),
        ("a.ppsx", b"application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml"),
        ("a.ppsm", b"application/vnd.ms-powerpoint.slideshow.macroEnabled.main+xml"),
    ],
)
def test_slide_shows_and_templates_are_read_as_presentations(parse, name: str, kind: bytes) -> None:
    def build(deck) -> None:
        deck.slides.add_slide(deck.slide_layouts[5]).shapes.title.text = "Plan for March"

    data = changed(samples.pptx(build), {"[Content_Types].xml": (SLIDES, kind)})
    assert parse(name, data).blocks[0].text == "Plan for March"


def with_package(outer: bytes, inner: bytes) -> bytes:
    relation = (
        b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/package" '
        b'Target="embeddings/Plan.docx"/></Relationships>'
    )
    types = b'<Default Extension="docx" ContentType="application/octet-stream"/></Types>'
    return changed(
        outer,
        {
            "word/embeddings/Plan.docx": inner,
            "word/_rels/document.xml.rels": (b"</Relationships>", relation),
            "[Content_Types].xml": (b"</Types>", types),
        },
    )


def test_a_document_inside_a_document_is_read_under_its_name_and_gives_no_title(parse) -> None:
    parsed = parse("contract.docx", with_package(word("See the plan."), word("Needle in the plan.")))
    assert [(block.kind, block.text) for block in parsed.blocks] == [
        (BlockKind.PARAGRAPH, "See the plan."),
        (BlockKind.HEADING, "Plan.docx"),
        (BlockKind.PARAGRAPH, "Needle in the plan."),
    ]
    assert parsed.title == "contract"


def test_a_damaged_file_inside_costs_only_itself(parse) -> None:
    parsed = parse("contract.docx", with_package(word("See the plan."), b"PK\x03\x04 broken"))
    assert [block.text for block in parsed.blocks] == ["See the plan."]
    [problem] = parsed.problems
    assert problem.code == "attachment_unread" and "'Plan.docx'" in problem.message


def test_ole_objects_give_the_file_that_was_put_in_and_formulas_give_none() -> None:
    name, path, inner = "报价.txt".encode("gb18030"), b"C:\\plans\\x.txt", b"Forty two crates"
    body = struct.pack("<H", 2) + name + b"\x00" + path + b"\x00" + struct.pack("<HH", 0, 3)
    body += struct.pack("<I", len(path) + 1) + path + b"\x00" + struct.pack("<I", len(inner)) + inner
    packager = ole_samples.ole({"\x01Ole10Native": struct.pack("<I", len(body)) + body})
    assert list(unwrapped("oleObject1.bin", packager)) == [("报价.txt", inner)]
    acrobat = ole_samples.ole({"CONTENTS": b"%PDF-1.4 ..."})
    assert list(unwrapped("oleObject2.bin", acrobat)) == [("oleObject2.pdf", b"%PDF-1.4 ...")]
    assert list(unwrapped("oleObject3.bin", ole_samples.ole({"Equation Native": b"x" * 40}))) == []
    old = ole_samples.ole({"WordDocument": b"x" * 40})
    assert list(unwrapped("oleObject4.bin", old)) == [("oleObject4.doc", old)]
    for end in range(0, len(packager), 97):
        list(unwrapped("cut.bin", packager[:end]))


def test_a_web_page_that_word_shows_as_its_own_text_stands_in_its_place(parse) -> None:
    relation = (
        b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/aFChunk" '
        b'Target="chunk.html"/></Relationships>'
    )

    def build(document) -> None:
        document.add_paragraph("Before")
        document.add_paragraph("After")

    data = samples.docx(build)
    body = zipfile.ZipFile(io.BytesIO(data)).read("word/document.xml")
    second = re.search(rb"<w:p>(?:(?!<w:p>).)*After", body, re.DOTALL)
    assert second is not None
    chunk = body[: second.start()] + b'<w:altChunk r:id="rId99"/>' + body[second.start() :]
    data = changed(
        data,
        {
            "word/document.xml": chunk,
            "word/chunk.html": b"<html><body><p>From the page</p></body></html>",
            "word/_rels/document.xml.rels": (b"</Relationships>", relation),
            "[Content_Types].xml": (b"</Types>", b'<Default Extension="html" ContentType="text/html"/></Types>'),
        },
    )
    assert [block.text for block in parse("a.docx", data).blocks] == ["Before", "From the page", "After"]


def test_pictures_of_a_document_are_read_once_each_when_there_is_time(parse) -> None:
    def build(document) -> None:
        document.add_paragraph("The delivery note:")
        document.add_picture(letters("Crate 4711 arrived"))
        document.add_picture(letters("Crate 4711 arrived"))

    data = samples.docx(build)
    parsed = parse("note.docx", data, Limits(ocr_seconds=60))
    shown = [block for block in parsed.blocks if block.kind is BlockKind.PICTURE]
    assert len(shown) == 1 and "4711" in shown[0].text
    assert shown[0].locator.ocr and shown[0].locator.ocr > 0.8
    assert (parsed.reading.pictures, parsed.reading.pictures_without_text) == (2, 1)
    unread = parse("note.docx", data, Limits(ocr_seconds=0))
    assert [block.text for block in unread.blocks] == ["The delivery note:"]


def test_a_slide_that_is_a_picture_is_read_with_its_number(parse) -> None:
    def build(deck) -> None:
        for text in ("Nothing here", ""):
            slide = deck.slides.add_slide(deck.slide_layouts[6])
            if text:
                slide.shapes.add_textbox(0, 0, 3_000_000, 500_000).text_frame.text = text
            else:
                slide.shapes.add_picture(letters("Budget 2026 approved"), 0, 0)

    parsed = parse("deck.pptx", samples.pptx(build), Limits(ocr_seconds=60))
    [picture] = [block for block in parsed.blocks if block.kind is BlockKind.PICTURE]
    assert "2026" in picture.text and picture.locator.slide == 2 and picture.locator.ocr


def test_files_inside_a_pdf_are_read_under_their_names(parse) -> None:
    import pypdf

    writer = pypdf.PdfWriter(clone_from=io.BytesIO(samples.pdf([[(40, 500, 12, "Invoice 12, see the data inside.")]])))
    writer.add_attachment("factur-x.xml", b'<?xml version="1.0"?><Invoice><Total>1280 EUR</Total></Invoice>')
    out = io.BytesIO()
    writer.write(out)
    parsed = parse("invoice.pdf", out.getvalue())
    texts = [block.text for block in parsed.blocks]
    assert texts[:2] == ["Invoice 12, see the data inside.", "factur-x.xml"]
    assert "1280 EUR" in " ".join(texts[2:]) and parsed.problems == ()


def test_readings_of_japanese_cells_stand_beside_their_text(parse) -> None:
    data = samples.xlsx(lambda book: book.active.append(["豊田", "plain"]))
    strings = (
        b'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>\xe8\xb1\x8a\xe7\x94\xb0</t>'
        b'<rPh sb="0" eb="2"><t>\xe3\x83\x88\xe3\x83\xa8\xe3\x82\xbf</t></rPh></si><si><t>plain</t></si></sst>'
    )
    parsed = parse("names.xlsx", changed(data, {"xl/sharedStrings.xml": strings}))
    assert "豊田 トヨタ | plain" in parsed.blocks[0].text


def test_a_chart_of_few_categories_is_a_table_with_them_side_by_side(parse) -> None:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE

    def build(deck) -> None:
        for count in (3, 20):
            figures = CategoryChartData()
            figures.categories = [f"M{number}" for number in range(1, count + 1)]
            figures.add_series("Sales", range(count))
            slide = deck.slides.add_slide(deck.slide_layouts[6])
            slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, 0, 3_000_000, 3_000_000, figures)

    few, many = (block for block in parse("c.pptx", samples.pptx(build)).blocks if block.kind is BlockKind.TABLE)
    assert (few.header, few.text) == (" | M1 | M2 | M3", "Sales | 0 | 1 | 2")
    assert many.header == " | Sales" and many.text.startswith("M1 | 0\nM2 | 1")


def test_the_files_of_chinese_offices_have_their_parsers() -> None:
    kinds = {name: EXTENSIONS[name].kind for name in ("wps", "wpt", "et", "ett", "dps", "dpt", "ofd", "vsdx", "oxps")}
    assert kinds == {
        "wps": "wps",
        "wpt": "doc",
        "et": "xls",
        "ett": "xls",
        "dps": "ppt",
        "dpt": "ppt",
        "ofd": "ofd",
        "vsdx": "vsdx",
        "oxps": "xps",
    }


def test_a_spreadsheet_that_makes_its_reader_panic_is_refused_in_words(parse, monkeypatch) -> None:
    import python_calamine

    class PanicException(BaseException):
        """As the reader's own, which is no Exception."""

    def panic(path: str) -> None:
        raise PanicException("no entry found for key")

    monkeypatch.setattr(python_calamine.CalamineWorkbook, "from_path", panic)
    with pytest.raises(UnreadableError, match=r"'a\.xls': the spreadsheet is damaged, or of a kind"):
        parse("a.xls", ole_samples.ole({"Workbook": b"x" * 40}))


def test_macros_of_an_opendocument_text_are_code_and_its_libraries_are_none(tmp_path: Path) -> None:
    from ingest.parsers.macros import macro_blocks

    module = b'<m xmlns="x">Sub Main\n  total = 4711\nEnd Sub</m>'
    path = tmp_path / "a.odt"
    path.write_bytes(
        samples.zipped({"mimetype": b"x", "Basic/Standard/sums.xml": module, "Basic/Standard/script-lb.xml": module})
    )
    assert [(block.kind, block.text) for block in macro_blocks(path)] == [
        (BlockKind.HEADING, "Macro sums"),
        (BlockKind.CODE, "Sub Main\n  total = 4711\nEnd Sub"),
    ]


def test_packed_macros_are_unpacked_as_the_format_says() -> None:
    from ingest.parsers.macros import unpacked

    # the example of MS-OVBA 3.2.3: letters and two copies of what came before
    packed = bytes.fromhex(
        "01 2f b0 00 23 61 61 61 62 63 64 65 82 66 00 70 61 67 68 69 6a 01 38 08 61 6b 6c 00 30 6d 6e 6f 70 06 71 02 70"
        "04 10 72 73 74 75 76 10 77 78 79 7a 00 3c"
    )
    assert unpacked(packed) == b"#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa"
    assert unpacked(bytes.fromhex("01 03 b0 02 61 45 00")) == b"a" * 73
    for end in range(len(packed)):
        unpacked(packed[:end])


def test_tables_embedded_in_an_opendocument_file_are_read_unless_they_came_through(tmp_path: Path) -> None:
    from ingest.parsers.odf_objects import object_blocks

    def cells(*values: str) -> str:
        return "".join(f"<t:table-cell><x:p>{value}</x:p></t:table-cell>" for value in values)

    rows = "".join(f"<t:table-row>{cells(*row)}</t:table-row>" for row in (("Number", "Name"), ("1", "crate")))
    rows += '<t:table-row><t:table-cell t:number-columns-repeated="16384"/></t:table-row>'
    content = f'<o:document xmlns:o="o" xmlns:t="t" xmlns:x="x"><o:body><t:table>{rows}</t:table></o:body></o:document>'
    path = tmp_path / "a.odt"
    path.write_bytes(samples.zipped({"mimetype": b"x", "Object 1/content.xml": content.encode()}))
    [table] = object_blocks(path, "Something else")
    assert (table.kind, table.header, table.text) == (BlockKind.TABLE, "Number | Name", "1 | crate")
    assert object_blocks(path, "Number | Name\n1 | crate") == []
