"""Small files of every kind, made in code."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence


def pdf(pages: Sequence[Sequence[tuple[float, float, float, str]]], rotate: int = 0, grey: float = 0) -> bytes:
    """A PDF of A5-like pages (400 x 600 points); each line is (x, y from the bottom, size, text).

    Latin text uses Helvetica; any other text the standard CID font of Chinese readers, which needs no embedding.
    """
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    catalog, tree = add(b""), add(b"")
    latin = add(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    descriptor = add(
        b"<< /Type /FontDescriptor /FontName /STSong-Light /Flags 6 /FontBBox [-25 -254 1000 880] /ItalicAngle 0 "
        b"/Ascent 880 /Descent -120 /CapHeight 880 /StemV 93 >>"
    )
    cid = add(
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong-Light /DW 1000 /FontDescriptor %d 0 R "
        b"/CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) /Supplement 2 >> >>" % descriptor
    )
    han = add(
        b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong-Light /Encoding /UniGB-UCS2-H /DescendantFonts [%d 0 R] >>"
        % cid
    )
    kids = []
    for lines in pages:
        commands = []
        for x, y, size, text in lines:
            font = b"L" if text.isascii() else b"H"
            raw = (
                b"(" + text.encode().replace(b"(", rb"\(").replace(b")", rb"\)") + b")"
                if text.isascii()
                else b"<" + text.encode("utf-16-be").hex().encode() + b">"
            )
            commands.append(b"BT %g g /%s %g Tf %g %g Td %s Tj ET" % (grey, font, size, x, y, raw))
        stream = b"\n".join(commands)
        content = add(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
        kids.append(
            add(
                b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 400 600] /Rotate %d /Contents %d 0 R "
                b"/Resources << /Font << /L %d 0 R /H %d 0 R >> >> >>" % (tree, rotate, content, latin, han)
            )
        )
    objects[catalog - 1] = b"<< /Type /Catalog /Pages %d 0 R >>" % tree
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[tree - 1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (listed, len(kids))
    return _assembled(objects)


def _assembled(objects: Sequence[bytes]) -> bytes:
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
        % (len(objects) + 1, table, len(objects) + 1, len(out))
    )


def scanned_pdf(text: str, size: int = 40) -> bytes:
    """A page that is only a picture of `text` (Latin letters)."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(image).text((40, 100), text, fill="black", font=ImageFont.load_default(size))
    out = io.BytesIO()
    image.save(out, "PDF", resolution=100)
    return out.getvalue()


def docx(build) -> bytes:
    """What `build(document)` makes of an empty Word document."""
    import docx as word

    document = word.Document()
    build(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def pptx(build) -> bytes:
    """What `build(presentation)` makes of an empty presentation."""
    import pptx as powerpoint

    deck = powerpoint.Presentation()
    build(deck)
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def xlsx(build) -> bytes:
    """What `build(workbook)` makes of an empty workbook."""
    import openpyxl

    book = openpyxl.Workbook()
    build(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()
