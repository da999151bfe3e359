"""EPUB and MHTML: chapters in reading order, pages in their mail-like wrapping, and archives made to harm."""

from __future__ import annotations

import importlib.util
import quopri
from pathlib import Path

import pytest

from core.errors import DocumentError, DocumentTooLargeError, EmptyDocumentError, EncryptedError, UnreadableError

_spec = importlib.util.spec_from_file_location("ingest_samples", Path(__file__).with_name("samples.py"))
assert _spec and _spec.loader
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)

CONTAINER = b"""<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">
<rootfiles>
<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""


def page(body: str, title: str = "") -> bytes:
    head = f"<head><title>{title}</title></head>" if title else "<head><title/></head>"
    markup = f'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">{head}<body>{body}</body></html>'
    return markup.encode()


def book(chapters: dict[str, bytes], spine: list[str] | None = None, more: dict[str, bytes] | None = None) -> bytes:
    items = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    order = [list(chapters).index(name) for name in (spine or list(chapters))]
    refs = "".join(f'<itemref idref="i{n}"/>' for n in order)
    toc = '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>' if more else ""
    package = f"""<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="2.0">
      <metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>差旅手册</dc:title><dc:creator>王伟</dc:creator>
      <dc:creator>Li</dc:creator><dc:date>2024-07-01</dc:date></metadata>
      <manifest>{items}{toc}</manifest><spine>{refs}</spine></package>"""
    members = {"mimetype": b"application/epub+zip", "META-INF/container.xml": CONTAINER}
    members["OEBPS/content.opf"] = package.encode()
    members |= {f"OEBPS/{name}": data for name, data in chapters.items()} | (more or {})
    return bytes(samples.zipped(members))


def shape(parsed) -> list[tuple[str, int, str]]:
    return [(block.kind.value, block.level, block.text) for block in parsed.blocks]


CHAPTERS = {
    "b.xhtml": page("<h1>Second</h1><p>Words of the second chapter.</p>"),
    "a.xhtml": page("<h1>First</h1><p>Words of the first chapter.</p><h2>Part</h2><p>More of it.</p>"),
}


@pytest.mark.parametrize("name", ["a.epub", "book", "a.zip"])
def test_chapters_stand_in_the_order_of_the_spine_whatever_the_name(parse, name: str) -> None:
    parsed = parse(name, book(CHAPTERS, spine=["a.xhtml", "b.xhtml"]))
    assert shape(parsed) == [
        ("heading", 1, "First"),
        ("paragraph", 0, "Words of the first chapter."),
        ("heading", 2, "Part"),
        ("paragraph", 0, "More of it."),
        ("heading", 1, "Second"),
        ("paragraph", 0, "Words of the second chapter."),
    ]
    assert parsed.title == "差旅手册"
    assert (parsed.metadata["author"], parsed.metadata["created"]) == ("王伟, Li", "2024-07-01")


def test_a_chapter_without_headings_takes_its_name_from_the_contents(parse) -> None:
    ncx = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>住宿</text></navLabel>
      <content src="c%20one.xhtml#start"/></navPoint></navMap></ncx>"""
    data = book({"c one.xhtml": page("<p>Hotels cost 500 yuan.</p>")}, more={"OEBPS/toc.ncx": ncx.encode()})
    assert shape(parse("a.epub", data)) == [("heading", 1, "住宿"), ("paragraph", 0, "Hotels cost 500 yuan.")]


def test_a_missing_chapter_is_told_and_the_others_are_read(parse) -> None:
    data = book(CHAPTERS).replace(b"OEBPS/a.xhtml", b"OEBPS/z.xhtml")
    parsed = parse("a.epub", data)
    assert "Words of the second chapter." in [block.text for block in parsed.blocks]
    assert [problem.code for problem in parsed.problems] == ["unreadable_page"]
    assert "'a.xhtml'" in parsed.problems[0].message


def test_references_that_climb_out_of_the_archive_name_nothing(parse, tmp_path: Path) -> None:
    (tmp_path / "secret.xhtml").write_bytes(page("<p>Secret words.</p>"))
    chapters = {"a.xhtml": CHAPTERS["a.xhtml"], "../../../secret.xhtml": page("<p>Climbing words.</p>")}
    data = book(chapters).replace(b"OEBPS/../../../secret.xhtml", b"OEBPS/xx/xx/xx/secret.xhtml")
    parsed = parse("a.epub", data)
    assert not any("Secret" in block.text or "Climbing" in block.text for block in parsed.blocks)
    assert [problem.code for problem in parsed.problems] == ["unreadable_page"]
    assert not list(tmp_path.parent.rglob("a.xhtml"))


def test_a_protected_book_says_so(parse) -> None:
    lock = """<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData><CipherData>
      <CipherReference URI="OEBPS/a.xhtml"/></CipherData></EncryptedData></encryption>"""
    with pytest.raises(EncryptedError, match=r"'a\.epub'.*copy-protected"):
        parse("a.epub", book(CHAPTERS, more={"META-INF/encryption.xml": lock.encode()}))
    fonts = lock.replace("a.xhtml", "font.otf").encode()
    assert parse("b.epub", book(CHAPTERS, more={"META-INF/encryption.xml": fonts})).blocks


def test_a_book_that_unpacks_to_too_much_is_refused_before_it_is_opened(parse) -> None:
    with pytest.raises(DocumentTooLargeError, match="times its size"):
        parse("a.epub", book({"a.xhtml": b"<p>" + b" " * 60_000_000}))


def test_damaged_books_end_in_a_clear_error(parse) -> None:
    data = book(CHAPTERS)
    for broken in (data[: len(data) // 2], data[:40] + b"\0" * 200 + data[240:], b"PK\x03\x04" + b"\0" * 90):
        try:
            assert parse("a.epub", broken).blocks
        except DocumentError as error:
            assert "'a.epub'" in error.message and error.hint
    with pytest.raises(UnreadableError, match=r"'b\.epub'.*container is damaged"):
        parse("b.epub", samples.zipped({"mimetype": b"application/epub+zip", "META-INF/container.xml": b"<x/>"}))
    with pytest.raises(EmptyDocumentError):
        parse("c.epub", book({"a.xhtml": page("")}))


# ---------------------------------------------------------------- MHTML


def saved(charset: str = "utf-8", head: str = "From: <Saved by Blink>\nSubject: Travel rules\n") -> bytes:
    head_of_page = f"<head><title>差旅</title><meta charset='{charset}'></head>"
    text = f"<html>{head_of_page}<body><h1>规定</h1><p>每晚五百元。</p></body></html>"
    body = quopri.encodestring(text.encode(charset)).decode("ascii")
    return (
        f"{head}MIME-Version: 1.0\nDate: Mon, 01 Jul 2024 09:00:00 +0800\n"
        'Content-Type: multipart/related; type="text/html"; boundary="xx"\n\n'
        "--xx\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n"
        f"--xx\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n{body}\n--xx--\n"
    ).encode()


@pytest.mark.parametrize("name", ["a.mhtml", "a.mht", "a.doc", "page"])
@pytest.mark.parametrize("charset", ["utf-8", "gb18030"])
def test_a_saved_page_is_read_as_the_page_it_holds(parse, name: str, charset: str) -> None:
    parsed = parse(name, saved(charset))
    assert shape(parsed) == [("heading", 1, "规定"), ("paragraph", 0, "每晚五百元。")]
    assert (parsed.media_type, parsed.title, parsed.reading.pictures) == ("multipart/related", "差旅", 1)


def test_a_mail_with_pictures_is_a_mail_and_no_saved_page(parse) -> None:
    head = "From: a@b.c\nTo: d@e.f\nSubject: Travel rules\n"
    assert parse("a", saved(head=head)).media_type == "message/rfc822"


def test_a_saved_page_without_a_page_is_unreadable(parse) -> None:
    data = saved().replace(b"Content-Type: text/html\n", b"Content-Type: image/gif\n")
    with pytest.raises(UnreadableError, match=r"'a\.mht'.*no web page"):
        parse("a.mht", data)
