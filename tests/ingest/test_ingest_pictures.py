"""Pictures as documents: formats, frames, orientation, bounds, and the page image that shows a citation."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from core.errors import DocumentTooLargeError, EmptyDocumentError, UnreadableError, UnsupportedTypeError
from core.types import BlockKind
from ingest.page_image import render
from ingest.parsers import Limits
from ingest.parsers.picture_file import FORMATS, frame, opened, points_per_pixel
from ingest.sniff import sniff

READ = Limits(ocr_seconds=60)


def shown(text: str, size: tuple[int, int] = (700, 140)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((40, 40), text, fill="black", font=ImageFont.load_default(40))
    return image


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_every_format_is_known_by_its_content_and_opened_upright(tmp_path: Path, form: str) -> None:
    path = tmp_path / "blob"
    path.write_bytes(saved(shown("Room 12"), form))
    assert sniff(path, "upload.txt").kind == "picture"
    with opened(path, "x") as image:
        assert image.format in FORMATS
        upright = frame(image, 1, "x")
    assert (upright.mode, upright.size) == ("RGB", (700, 140))
    assert min(upright.convert("L").getextrema()) < 80


def test_a_picture_becomes_a_document_with_page_box_and_confidence(parse) -> None:
    parsed = parse("note.png", saved(shown("Room 4711 is free"), "PNG"), READ)
    [block] = parsed.blocks
    assert "4711" in block.text and block.kind in (BlockKind.PARAGRAPH, BlockKind.HEADING)
    assert (parsed.media_type, parsed.pages, block.locator.page) == ("image/png", 1, 1)
    assert block.locator.ocr is not None and block.locator.ocr > 0.8
    [box] = block.locator.boxes
    assert 20 < box.x0 < 60 and 20 < box.y0 < 60 and box.x1 < 500 and box.y1 < 110
    assert parsed.reading.pictures == 1 and parsed.reading.pictures_without_text == 0


def test_every_page_of_a_tiff_is_read_and_an_empty_one_is_named(parse) -> None:
    pages = [shown("First page 101"), shown(""), shown("Third page 303")]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    parsed = parse("fax.tif", data, READ)
    assert [(block.locator.page, "101" in block.text, "303" in block.text) for block in parsed.blocks] == [
        (1, True, False),
        (3, False, True),
    ]
    assert parsed.pages == 3 and ("page_without_text", 2) in [(p.code, p.page) for p in parsed.problems]


def test_a_photograph_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: turn by 90 degrees to the right
    (tmp_path / "p").write_bytes(saved(shown("x").rotate(90, expand=True), "JPEG", exif=exif))
    with opened(tmp_path / "p", "p") as image:
        assert image.size == (140, 700)
        assert frame(image, 1, "p").size == (700, 140)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_colour_mode_becomes_black_on_white(tmp_path: Path, mode: str) -> None:
    image = shown("Room 12")
    if mode == "RGBA":
        image = Image.merge(
            "RGBA", (*Image.new("RGB", image.size).split(), shown("Room 12").convert("L").point(lambda v: 255 - v))
        )
    elif mode == "I;16":
        image = image.convert("L").convert("I;16")
    else:
        image = image.convert(mode)
    (tmp_path / "p").write_bytes(saved(image, "TIFF" if mode in ("CMYK", "I;16") else "PNG"))
    with opened(tmp_path / "p", "p") as opened_image:
        grey = frame(opened_image, 1, "p").convert("L")
    assert grey.getpixel((5, 5)) > 240 and min(grey.getextrema()) < 90


def test_a_picture_without_letters_is_empty_and_says_so(parse) -> None:
    with pytest.raises(EmptyDocumentError, match=r"'sky\.jpg': no text was recognised"):
        parse("sky.jpg", saved(Image.new("RGB", (300, 200), "skyblue"), "JPEG"), READ)


def test_without_time_for_ocr_a_picture_says_what_to_raise(parse) -> None:
    with pytest.raises(EmptyDocumentError, match="OCR_PAGE_S"):
        parse("a.png", saved(shown("Room 12"), "PNG"))


def test_a_decompression_bomb_is_too_large_before_it_is_opened(parse) -> None:
    bomb = saved(Image.new("1", (12_000, 12_000)), "PNG")
    assert len(bomb) < 1_000_000
    with pytest.raises(DocumentTooLargeError, match=r"'bomb\.png'.*12000 x 12000 pixels.*80 million"):
        parse("bomb.png", bomb, READ)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
def test_a_truncated_picture_ends_read_or_with_an_error_of_the_tree(parse, form: str) -> None:
    data = saved(shown("Room 12"), form)
    for share in (0.02, 0.5):
        try:
            parse("cut.img", data[: max(30, int(len(data) * share))], Limits(ocr_seconds=0))
        except (UnreadableError, EmptyDocumentError) as error:
            assert "'cut.img'" in error.message and error.hint


def test_text_that_begins_with_bm_is_no_bitmap(parse) -> None:
    assert parse("car.txt", b"BMW builds cars in Munich. " * 20).media_type == "text/plain"


def test_sound_in_a_riff_file_is_not_read(parse) -> None:
    with pytest.raises(UnsupportedTypeError, match="sound"):
        parse("a.webp", b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(60))


def test_the_page_image_of_a_picture_shows_the_box_where_the_words_are(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(saved(shown("Room", (1684, 400)), "PNG"))
    assert points_per_pixel((1684, 400)) == pytest.approx(0.5)
    png = Image.open(io.BytesIO(render(tmp_path / "p", 1, 1.5, [(10, 10, 100, 50)]))).convert("RGB")
    assert png.size == (1263, 300)
    assert png.getpixel((60, 30)) != (255, 255, 255) and png.getpixel((600, 200)) == (255, 255, 255)
    with pytest.raises(UnreadableError, match="page 2: the document has 1 pages"):
        render(tmp_path / "p", 2, 1, [])


def test_the_page_image_of_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"plain text, neither a PDF nor a picture")
    with pytest.raises(UnreadableError):
        render(tmp_path / "p", 1, 1, [])
