"""JSON, XML and their relatives: structure kept, records as tables, and hostile files ended clearly."""

from __future__ import annotations

import json

import pytest

from core.errors import DocumentError, DocumentTooLargeError, EmptyDocumentError, UnreadableError
from core.types import BlockKind
from ingest.parsers import Limits, data_json


def shape(parsed) -> list[tuple[str, int, str]]:
    return [(block.kind.value, block.level, block.text) for block in parsed.blocks]


def words(parsed) -> str:
    return "\n".join(f"{block.header}\n{block.text}" for block in parsed.blocks)


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


# ---------------------------------------------------------------- JSON


def test_short_values_are_lines_and_long_texts_paragraphs(parse) -> None:
    long = "The traveller books the cheapest fare that suits the purpose of the trip. " * 6
    parsed = parse(
        "a.json", dumped({"title": "Travel", "owner": {"name": "Li", "city": "北京"}, "rule": long, "on": True})
    )
    assert shape(parsed) == [
        ("paragraph", 0, "title: Travel\nowner.name: Li\nowner.city: 北京\non: true"),
        ("paragraph", 0, f"rule: {long.strip()}"),
    ]
    assert parsed.title == "Travel"


def test_like_records_are_a_table_under_their_keys(parse) -> None:
    rows = [{"city": "Beijing", "limit": 600}, {"city": "Lanzhou", "limit": 350, "note": "a|b"}]
    parsed = parse("a.json", dumped({"limits": rows}))
    assert shape(parsed)[0] == ("heading", 1, "limits")
    [table] = [block for block in parsed.blocks if block.kind is BlockKind.TABLE]
    assert (table.header, table.text) == ("city | limit | note", "Beijing | 600 | \nLanzhou | 350 | a/b")


def test_unlike_records_are_sections_named_by_their_titles(parse) -> None:
    records = [
        {"title": "Hotels", "parts": [{"text": "x " * 200}]},
        {"name": "Flights", "rules": {"a": {"b": {"c": 1}}}},
    ]
    headings = [text for kind, _, text in shape(parse("a.json", dumped(records))) if kind == "heading"]
    assert headings[0] == "Hotels" and "Flights" in headings


def test_numbers_keep_every_digit_of_the_file(parse) -> None:
    parsed = parse("a.json", b'{"big": ' + b"9" * 250 + b', "exact": 0.1000, "odd": NaN, "exp": 1e999}')
    assert "9" * 250 in words(parsed)
    assert "exact: 0.1000" in words(parsed) and "odd: NaN" in words(parsed) and "exp: 1e999" in words(parsed)


def test_json_lines_carry_their_lines_and_like_ones_are_a_table(parse) -> None:
    lines = [dumped({"id": n, "city": f"City {n}"}) for n in range(1, 6)]
    parsed = parse("a.jsonl", b"\n".join(lines))
    [table] = parsed.blocks
    assert (table.header, table.locator.lines) == ("id | city", (1, 5))
    assert table.text.split("\n")[4] == "5 | City 5"


def test_json_lines_of_long_records_are_sections_with_their_line(parse) -> None:
    text = "Words of the record. " * 30
    parsed = parse("notes.jsonl", b"\n".join(dumped({"title": f"Note {n}", "text": text}) for n in (1, 2, 3)))
    places = {block.text: block.locator.lines for block in parsed.blocks if block.kind is BlockKind.HEADING}
    assert places == {"Note 1": (1, 1), "Note 2": (2, 2), "Note 3": (3, 3)}
    assert parsed.title == "notes"


def test_a_broken_line_costs_only_itself(parse) -> None:
    good = [dumped({"id": n, "city": f"City {n}"}) for n in range(1, 7)]
    good[3] = b'{"id": 4, "city": "City four'
    parsed = parse("a.jsonl", b"\n".join(good))
    assert "5 | City 5" in words(parsed) and "City four" in words(parsed)
    [problem] = parsed.problems
    assert problem.code == "read_as_text" and "Line 4" in problem.message


@pytest.mark.parametrize("data", [b'{"a": "words of the value", ', b"{'a': 'single quotes'}", b'[{"a": "cut off words'])
def test_what_is_no_json_is_read_as_text_and_told(parse, data: bytes) -> None:
    parsed = parse("a.json", data)
    assert parsed.problems[0].code == "read_as_text" and len(words(parsed)) > 10


def test_json_in_a_text_file_stays_text_and_without_extension_is_json(parse) -> None:
    data = dumped({"city": "Beijing", "limit": 600})
    assert parse("a.txt", data).media_type == "text/plain"
    assert parse("data", data).media_type == "application/json"
    assert parse("notes", b"[draft] This is a note.\n\nNot data.").media_type == "text/plain"


@pytest.mark.parametrize("depth", [200, 990, 100_000])
def test_deep_nesting_ends_in_text_or_a_clear_error(parse, depth: int) -> None:
    for data in (b"[" * depth + b'"core"' + b"]" * depth, b'{"a":' * depth + b'"core"' + b"}" * depth):
        try:
            assert "core" in words(parse("a.json", data)) or depth > 900
        except DocumentError as error:
            assert "'a.json'" in error.message


def test_one_huge_value_is_refused_and_many_values_stop_at_the_limit(parse, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = b"\n".join(dumped({"title": f"t{n}", "text": "word " * 100}) for n in range(500))
    parsed = parse("a.jsonl", lines, Limits(ocr_seconds=0, max_chars=20_000))
    assert sum(len(block.text) for block in parsed.blocks) <= 20_000
    monkeypatch.setattr(data_json, "MAX_VALUE", 1000)
    with pytest.raises(DocumentTooLargeError, match=r"'a\.json'.*over the limit of 1,000"):
        parse("a.json", dumped({"text": "word " * 500}))


def test_coordinates_do_not_become_thousands_of_blocks(parse) -> None:
    shape_of_it = [[[n / 10, n / 7] for n in range(500)]]
    parsed = parse("a.geojson", dumped({"name": "Site", "geometry": {"type": "Polygon", "coordinates": shape_of_it}}))
    assert "name: Site" in words(parsed) and len(parsed.blocks) < 10


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_json_in_other_encodings(parse, encoding: str) -> None:
    text = '{"规定": "员工出差须提前三天提出申请，经部门负责人批准后方可订票。"}'
    assert "员工出差须提前三天提出申请" in words(parse("a.json", text.encode(encoding)))


def test_a_notebook_gives_its_text_code_and_results(parse) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Budget\n", "\n", "How it was made."]},
        {
            "cell_type": "code",
            "source": "total = 3 + 4\nprint(total)",
            "outputs": [{"text": ["7\n"]}, {"data": {"image/png": "AAAA", "text/plain": "<Figure>"}}],
        },
    ]
    parsed = parse("a.ipynb", dumped({"cells": cells, "nbformat": 4, "metadata": {"authors": [{"name": "Li"}]}}))
    assert shape(parsed) == [
        ("heading", 1, "Budget"),
        ("paragraph", 0, "How it was made."),
        ("code", 0, "total = 3 + 4\nprint(total)"),
        ("code", 0, "7"),
        ("code", 0, "<Figure>"),
    ]
    assert parsed.reading.pictures == 1 and parsed.metadata["author"] == "Li"
    assert parse("b.ipynb", b'{"cells": 3, "why": "not a notebook at all"}').blocks


# ---------------------------------------------------------------- XML


def test_a_document_keeps_headings_lists_tables_and_code(parse) -> None:
    data = b"""<?xml version="1.0"?><article xmlns="http://docbook.org/ns/docbook"><info><title>Handbook</title>
      <author>Wang</author></info><section><title>Travel</title>
      <para>Book the <emphasis>cheapest</emphasis> fare.</para>
      <itemizedlist><listitem><para>Train</para></listitem><listitem><para>Plane</para></listitem></itemizedlist>
      <section><title>Limits</title><informaltable><thead><row><entry>City</entry><entry>Limit</entry></row></thead>
      <tbody><row><entry>Beijing</entry><entry>600</entry></row></tbody></informaltable>
      <programlisting>a = 1
b = 2</programlisting></section></section></article>"""
    parsed = parse("a.xml", data)
    assert [part for part in shape(parsed) if part[0] != "paragraph"] == [
        ("heading", 1, "Handbook"),
        ("heading", 2, "Travel"),
        ("list", 0, "- Train\n- Plane"),
        ("heading", 3, "Limits"),
        ("table", 0, "Beijing | 600"),
        ("code", 0, "a = 1\nb = 2"),
    ]
    assert ("paragraph", 0, "Book the cheapest fare.") in shape(parsed)
    assert (parsed.title, parsed.metadata["author"]) == ("Handbook", "Wang")


def test_records_are_a_table_with_attributes_and_children_as_columns(parse) -> None:
    rows = "".join(f"<employee id='{n}'><name>Name {n}</name><dept>财务部</dept></employee>" for n in (1, 2, 3))
    [heading, table] = parse("a.xml", f"<staff>{rows}</staff>".encode()).blocks
    assert heading.text == "employee"
    assert (table.header, table.text.split("\n")[1]) == ("id | name | dept", "2 | Name 2 | 财务部")


FEED = """<?xml version="1.0" encoding="{0}"?><rss version="2.0"><channel><title>公司新闻</title>
<item><title>新的差旅规定</title><author>王伟</author><pubDate>Mon, 01 Jul 2024 09:00:00 GMT</pubDate>
<description>&lt;p&gt;住宿标准为每晚&lt;b&gt;五百元&lt;/b&gt;。&lt;/p&gt;&lt;script&gt;steal()&lt;/script&gt;</description></item>
</channel></rss>"""


@pytest.mark.parametrize("encoding", ["utf-8", "gb2312", "utf-16"])
def test_a_feed_gives_its_entries_with_their_html_read(parse, encoding: str) -> None:
    parsed = parse("feed.xml", FEED.format(encoding).encode(encoding))
    assert shape(parsed) == [
        ("heading", 1, "公司新闻"),
        ("heading", 2, "新的差旅规定"),
        ("paragraph", 0, "Author: 王伟\nDate: Mon, 01 Jul 2024 09:00:00 GMT"),
        ("paragraph", 0, "住宿标准为每晚五百元。"),
    ]
    assert parsed.title == "公司新闻"


def test_an_atom_feed_is_read_too(parse) -> None:
    data = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><entry><title>One</title>
      <author><name>Li</name></author><content type="xhtml">
      <div xmlns="http://www.w3.org/1999/xhtml"><p>Words of it.</p>
      </div></content></entry></feed>"""
    assert ("paragraph", 0, "Words of it.") in shape(parse("a.atom", data))


def test_the_xml_of_excel_2003_is_a_table_with_cells_whatever_its_name(parse) -> None:
    space = "urn:schemas-microsoft-com:office:spreadsheet"
    rows = "".join(
        f"<Row>{''.join(f'<Cell><Data>{value}</Data></Cell>' for value in row)}</Row>"
        for row in (("部门", "预算"), ("研发部", "350"), ("市场部", "120"))
    )
    data = (
        f"<?xml version='1.0'?><Workbook xmlns='{space}' xmlns:ss='{space}'><Worksheet ss:Name='预算表'><Table>{rows}"
    )
    parsed = parse("export.xls", f"{data}</Table></Worksheet></Workbook>".encode())
    table = parsed.blocks[-1]
    assert (table.header, table.text) == ("部门 | 预算", "研发部 | 350\n市场部 | 120")
    assert (table.locator.sheet, table.locator.cells) == ("预算表", "A2:B3")


def test_a_drawing_gives_its_words_and_one_without_words_says_so(parse) -> None:
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script><text>部门结构图</text><path d='M0 0'/></svg>"
    )
    parsed = parse("a.svg", svg.encode())
    assert [(block.kind, block.text) for block in parsed.blocks] == [(BlockKind.PICTURE, "部门结构图")]
    with pytest.raises(EmptyDocumentError, match=r"'b\.svg'.*no words"):
        parse("b.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><path d='M0 0'/></svg>")


def test_html_under_the_name_of_xml_is_html_and_xhtml_keeps_its_text_after_empty_tags(parse) -> None:
    assert parse("a.xml", b"<!DOCTYPE html><html><body><p>A page of words.</p></body></html>").media_type == "text/html"
    page = b"""<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="a.js"/></head>
      <body><p>Words after <a id="x"/> empty tags.</p></body></html>"""
    assert "Words after empty tags." in words(parse("a.xhtml", page))


def test_an_external_entity_is_not_read_and_the_loss_is_told(parse, tmp_path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret words")
    data = f'<!DOCTYPE r [<!ENTITY x SYSTEM "file://{secret}">]><r><p>Quarterly figures &x; follow.</p></r>'
    parsed = parse("a.xml", data.encode())
    assert "secret" not in words(parsed) and "Quarterly figures" in words(parsed)
    assert [problem.code for problem in parsed.problems] == ["entities_left_out"]


def test_an_entity_bomb_does_not_grow(parse) -> None:
    levels = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    data = f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a0 "{"x" * 100}">{levels}]><l>Real words. &a11;</l>'
    parsed = parse("a.xml", data.encode())
    assert words(parsed).strip() == "Real words."
    with pytest.raises(EmptyDocumentError):
        parse("b.xml", data.replace("Real words. ", "").encode())


def test_known_entities_of_html_need_no_dtd(parse) -> None:
    assert "fare — cheap é" in words(parse("a.xml", b"<r><p>fare &mdash; cheap &eacute;</p></r>"))


@pytest.mark.parametrize("depth", [300, 3000, 100_000])
def test_xml_nested_beyond_reason_ends_in_text_or_a_clear_error(parse, depth: int) -> None:
    try:
        parse("a.xml", b"<?xml version='1.0'?>" + b"<a>" * depth + b"core" + b"</a>" * depth)
    except DocumentError as error:
        assert "'a.xml'" in error.message


def test_damaged_xml_is_read_as_far_as_possible_and_told(parse) -> None:
    parsed = parse("a.xml", b"<?xml version='1.0'?><r><p>First words.</p><p>Second words</q><p>Third words.</r>")
    assert "First words." in words(parsed) and "Third words." in words(parsed)
    [problem] = parsed.problems
    assert problem.code == "damaged_structure" and "line 1" in problem.message


def test_what_only_claims_to_be_xml_ends_in_a_clear_error(parse) -> None:
    with pytest.raises((UnreadableError, EmptyDocumentError), match=r"'a\.xml'"):
        parse("a.xml", b"<?xml version='1.0'?>")
