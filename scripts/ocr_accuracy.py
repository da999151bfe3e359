"""OCR and PDF reading measured: character accuracy on drawn pages and twin files, word recall beside plain pypdf.

Run: python -m scripts.ocr_accuracy [--files ../shared/eval/files] [--pages 2]
Chinese pages need a font of the system (Debian and Ubuntu: fonts-noto-cjk). Prints Markdown for docs/quality.md.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FONTS = {
    "zh": ("NotoSerifCJK-Regular.ttc", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "uming.ttc"),
    "en": ("DejaVuSerif.ttf", "LiberationSerif-Regular.ttf", "DejaVuSans.ttf"),
}
POINTS = 10.5
_PAGE = (595, 842)
_MARGIN = 60
_WORDS = 150
"""Words that a text layer must have to be compared with."""
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")


@dataclass(frozen=True)
class Case:
    """One way in which a page is drawn."""

    name: str
    dpi: int
    noise: float = 0.0
    angle: float = 0.0
    turn: int = 0


CASES = (
    Case("clean, 150 dpi", 150),
    Case("clean, 200 dpi", 200),
    Case("clean, 300 dpi", 300),
    Case("noise and 1° skew, 150 dpi", 150, noise=18, angle=1),
    Case("noise and 1° skew, 200 dpi", 200, noise=18, angle=1),
    Case("noise and 1° skew, 300 dpi", 300, noise=18, angle=1),
    Case("turned by 90°, 200 dpi", 200, turn=1),
    Case("upside down, 200 dpi", 200, turn=2),
)


def edit_distance(a: str, b: str) -> int:
    """Levenshtein distance by bit vectors (Myers 1999, in Hyyrö's form)."""
    if not a or not b:
        return max(len(a), len(b))
    masks: dict[str, int] = {}
    for position, char in enumerate(a):
        masks[char] = masks.get(char, 0) | 1 << position
    full, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    plus, minus, distance = full, 0, len(a)
    for char in b:
        match = masks.get(char, 0)
        zero = (((match & plus) + plus) ^ plus) | match | minus
        up, down = minus | (~(zero | plus) & full), plus & zero
        distance += bool(up & last) - bool(down & last)
        up, down = (up << 1) | 1, down << 1
        plus, minus = (down | ~(zero | up)) & full, up & zero & full
    return distance


def accuracy(truth: str, read: str) -> float:
    """1 - normalised edit distance, blanks not counted."""
    a, b = "".join(truth.split()), "".join(read.split())
    return max(0.0, 1 - edit_distance(a, b) / max(1, len(a)))


def recall(truth: str, read: str) -> float:
    """Share of the truth's words (Han characters singly) that are found."""
    wanted, found = Counter(_WORD.findall(truth.lower())), Counter(_WORD.findall(read.lower()))
    return sum(min(count, found[word]) for word, count in wanted.items()) / max(1, sum(wanted.values()))


def font_for(language: str) -> Path | None:
    """The first fitting font of the system."""
    for name in FONTS[language]:
        for folder in (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts"):
            found = next(iter(sorted(folder.rglob(name))), None) if folder.is_dir() else None
            if found:
                return found
    return None


def own_texts(language: str) -> str:
    """Prose of the test corpus in one language."""
    from core.text import detect_language

    rows = [json.loads(line) for line in (ROOT / "tests" / "corpus" / "documents.jsonl").read_text().splitlines()]
    texts = [str(row["text"]) for row in rows]
    return "\n".join(text for text in texts if detect_language(text) == language)


def drawn_pages(language: str, count: int, case: Case) -> Iterator[tuple[Any, str]]:
    """Pages of running text as pictures (height, width, 3) uint8, and what stands on them."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    path = font_for(language)
    if path is None:
        return
    scale = case.dpi / 72
    font = ImageFont.truetype(str(path), round(POINTS * scale))
    width = (_PAGE[0] - 2 * _MARGIN) * scale
    rest = _wrapped(own_texts(language), font, width)
    per_page = int((_PAGE[1] - 2 * _MARGIN) / (POINTS * 1.6))
    random = np.random.default_rng(7)
    for start in range(0, min(count * per_page, len(rest)), per_page):
        lines = rest[start : start + per_page]
        image = Image.new("L", (round(_PAGE[0] * scale), round(_PAGE[1] * scale)), 255)
        draw = ImageDraw.Draw(image)
        for row, line in enumerate(lines):
            draw.text((_MARGIN * scale, (_MARGIN + row * POINTS * 1.6) * scale), line, fill=20, font=font)
        image = image.rotate(case.angle, fillcolor=255, resample=Image.Resampling.BICUBIC)
        grey = np.asarray(image, dtype="float32") + random.normal(0, case.noise or 1e-6, image.size[::-1])
        picture = np.clip(grey, 0, 255).astype("uint8")[:, :, None].repeat(3, axis=2)
        yield np.ascontiguousarray(np.rot90(picture, -case.turn)), "".join(lines)


def _wrapped(text: str, font: Any, width: float) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in re.findall(r"[\u2e80-\uffef]|[^\s\u2e80-\uffef]+\s*|\s+", paragraph):
            if line and font.getlength(line + word.rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += word
        if line.strip():
            lines.append(line.rstrip())
    return lines


def read_picture(image: Any) -> str:
    """Recognised lines in reading order."""
    from ingest.parsers.ocr import recognise
    from ingest.parsers.pdf_ocr import OcrBudget, fill
    from ingest.parsers.pdf_page import Frame, PageText

    found = recognise(image)
    page = PageText(1, Frame(float(image.shape[1]), float(image.shape[0])))
    fill(page, found, 1.0, (), OcrBudget(1e9))
    return "\n".join(line.text for line in page.lines)


def own_rows(pages: int) -> Iterator[str]:
    """Table rows over our own drawn pages."""
    for language in ("zh", "en"):
        for case in CASES:
            scores, seconds = [], 0.0
            for image, truth in drawn_pages(language, pages, case):
                started = time.process_time()
                scores.append(accuracy(truth, read_picture(image)))
                seconds += time.process_time() - started
            if scores:
                mean, least = sum(scores) / len(scores), min(scores)
                yield f"| {language} | {case.name} | {mean:.4f} | {least:.4f} | {seconds / len(scores):.1f} |"


def parsed_text(path: Path, ocr_seconds: float = 300) -> str:
    """The text that Alioth reads in a file, headers of tables included."""
    from core.errors import DocumentError
    from ingest.parse import parse_file
    from ingest.parsers import Limits

    try:
        parsed = parse_file(path, path.name, Limits(ocr_seconds=ocr_seconds), 1 << 31)
    except DocumentError:
        return ""
    return "\n".join(f"{block.header}\n{block.text}" for block in parsed.blocks)


def plain_text(path: Path) -> str:
    """What pypdf alone gives."""
    import pypdf
    from pypdf.errors import PyPdfError

    try:
        return "\n".join(page.extract_text() or "" for page in pypdf.PdfReader(path).pages)
    except (PyPdfError, ValueError, KeyError, NotImplementedError):
        return ""


def twin_rows(root: Path) -> Iterator[str]:
    """Pictures that lie beside a PDF of the same name with a text layer: the layer is the truth."""
    for path in sorted(root.rglob("*")):
        twin = path.with_suffix(".pdf")
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".tif", ".tiff") or not twin.is_file():
            continue
        truth = parsed_text(twin, 0)
        if len(_WORD.findall(truth)) >= _WORDS:
            read = parsed_text(path)
            yield f"| {path.relative_to(root)} | {accuracy(truth, read):.3f} | {recall(truth, read):.3f} |"


def first_page(path: Path) -> tuple[Any, str]:
    """The page and its text layer; empty where there is none worth comparing with."""
    import pypdfium2 as pdfium

    from ingest.parsers.text_quality import quality

    try:
        page = pdfium.PdfDocument(path)[0]
    except pdfium.PdfiumError:
        return None, ""
    text = page.get_textpage().get_text_range()
    return page, text if len(_WORD.findall(text)) >= _WORDS and quality(text).good else ""


def page_rows(root: Path, count: int) -> Iterator[str]:
    """First pages of PDFs with a good text layer, evenly chosen, drawn at 200 dpi and read as pictures."""
    fitting = [path for path in sorted(root.rglob("*.pdf")) if first_page(path)[1]]
    for path in fitting[:: max(1, len(fitting) // max(1, count))][:count]:
        page, truth = first_page(path)
        read = read_picture(page.render(scale=200 / 72).to_numpy()[:, :, :3].copy())
        yield f"| {path.relative_to(root)} | {recall(truth, read):.3f} |"


def reference_rows(root: Path) -> Iterator[str]:
    """PDFs with reference Markdown: word recall of Alioth and of plain pypdf."""
    for line in (root / "MANIFEST.jsonl").read_text().splitlines():
        entry = json.loads(line)
        path, reference = root / entry["path"], root / entry.get("groundtruth", "-")
        if path.suffix == ".pdf" and path.is_file() and reference.is_file():
            truth = reference.read_text()
            ours, plain = recall(truth, parsed_text(path)), recall(truth, plain_text(path))
            yield f"| {entry['path']} | {ours:.3f} | {plain:.3f} |"


def main(arguments: Sequence[str]) -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=Path, default=ROOT.parent / "shared" / "eval" / "files")
    options.add_argument("--pages", type=int, default=2, help="drawn pages per case")
    options.add_argument("--drawn-pdfs", type=int, default=8, help="PDFs whose first page is read as a picture")
    chosen = options.parse_args(arguments)
    write = sys.stdout.write
    write("| language | page | character accuracy | worst page | CPU s per page |\n| --- | --- | --- | --- | --- |\n")
    for row in own_rows(chosen.pages):
        write(row + "\n")
    if chosen.files.is_dir():
        write("\n| picture of a PDF | character accuracy | word recall |\n| --- | --- | --- |\n")
        for row in twin_rows(chosen.files):
            write(row + "\n")
        write("\n| first page as a picture, 200 dpi | word recall |\n| --- | --- |\n")
        for row in page_rows(chosen.files, chosen.drawn_pdfs):
            write(row + "\n")
        write("\n| PDF with reference | Alioth | pypdf |\n| --- | --- | --- |\n")
        for row in reference_rows(chosen.files):
            write(row + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
