"""OCR measured: character accuracy by resolution on drawn pages, and on real pictures with a known text.

Run: python -m scripts.ocr_accuracy [--files ../shared/eval/files] [--pages 1]. It writes docs/ocr.md.
Chinese pages need a font of the system (Debian and Ubuntu: fonts-noto-cjk).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scripts.ocr_pages import ROOT, SCANS, TURNED, Scan, scanned_pages

PAGE = ROOT / "docs" / "ocr.md"
RESOLUTIONS = (120, 150, 200, 300)
LANGUAGES = ("zh", "en")
_WORDS = 100
"""Words that a text must have to be compared with."""
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")
_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")


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


def read_picture(image: Any) -> str:
    """Recognised lines in reading order."""
    from ingest.parsers.ocr import recognise
    from ingest.parsers.pdf_ocr import OcrBudget, fill
    from ingest.parsers.pdf_page import Frame, PageText

    found = recognise(image)
    page = PageText(1, Frame(float(image.shape[1]), float(image.shape[0])))
    fill(page, found, 1.0, (), OcrBudget(1e9))
    return "\n".join(line.text for line in page.lines)


def measured(language: str, scan: Scan, dpi: int, pages: int) -> tuple[float, float] | None:
    """Mean character accuracy and CPU seconds of a page; None without a font of the language."""
    scores, seconds = [], 0.0
    for image, truth in scanned_pages(language, pages, scan, dpi):
        started = time.process_time()
        scores.append(accuracy(truth, read_picture(image)))
        seconds += time.process_time() - started
    return (sum(scores) / len(scores), seconds / len(scores)) if scores else None


def drawn_rows(pages: int) -> Iterator[str]:
    """Accuracy of each kind of scan at each resolution, one row per language, and the means."""
    for language in LANGUAGES:
        total: dict[int, list[tuple[float, float]]] = {dpi: [] for dpi in RESOLUTIONS}
        for scan in SCANS:
            found = [measured(language, scan, dpi, pages) for dpi in RESOLUTIONS]
            cells = []
            for dpi, one in zip(RESOLUTIONS, found, strict=True):
                if one is None:
                    return
                total[dpi].append(one)
                cells.append(f"{one[0]:.4f}")
            yield f"| {language} | {scan.name} | " + " | ".join(cells) + " |"
        means = [[sum(column) / len(column) for column in zip(*total[dpi], strict=True)] for dpi in RESOLUTIONS]
        yield f"| {language} | **mean** | " + " | ".join(f"**{mean[0]:.4f}**" for mean in means) + " |"
        yield f"| {language} | CPU seconds a page | " + " | ".join(f"{mean[1]:.1f}" for mean in means) + " |"


def turned_rows(pages: int) -> Iterator[str]:
    """Accuracy of turned pages at the resolution that is used."""
    from ingest.parsers.ocr import DPI

    for language in LANGUAGES:
        for scan in TURNED:
            found = measured(language, scan, DPI, pages)
            if found is not None:
                yield f"| {language} | {scan.name} | {found[0]:.4f} |"


def parsed(path: Path) -> tuple[str, int]:
    """The text that Alioth reads in a file, headers of tables included, and how much is by OCR: 2 pages, 1 pictures."""
    from core.errors import DocumentError
    from ingest.parse import parse_file
    from ingest.parsers import Limits

    try:
        document = parse_file(path, path.name, Limits(ocr_seconds=600), 1 << 31)
    except DocumentError:
        return "", 0
    text = "\n".join(f"{block.header}\n{block.text}" for block in document.blocks)
    recognised = any(block.locator.ocr is not None for block in document.blocks)
    return text, 2 if document.reading.ocr_pages else int(recognised)


def real_rows(root: Path) -> Iterator[str]:
    """Real pictures and scanned PDFs: what is read beside the text of a twin or a reference."""
    for path, truth, kind in _real(root):
        read = parsed(path)[0]
        name = path.relative_to(root)
        yield f"| {name} | {kind} | {accuracy(truth, read):.3f} | {recall(truth, read):.3f} |"


def _real(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Pictures beside a PDF of the same name with text, and scanned PDFs with reference Markdown."""
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in _PICTURES and (twin := path.with_suffix(".pdf")).is_file():
            truth, recognised = parsed(twin)
            if not recognised and len(_WORD.findall(truth)) >= _WORDS:
                yield path, truth, "text of the PDF of that name"
    for line in (root / "MANIFEST.jsonl").read_text().splitlines():
        entry = json.loads(line)
        path, reference = root / entry["path"], root / entry.get("groundtruth", "-")
        if path.suffix == ".pdf" and path.is_file() and reference.is_file() and parsed(path)[1] == 2:
            yield path, re.sub(r"<!--.*?-->|[|#*_`]|-{2,}", " ", reference.read_text()), "reference Markdown"


def page_rows(root: Path, count: int, dpi: int) -> Iterator[str]:
    """First pages of PDFs with a good text layer, evenly chosen, drawn and read as pictures."""
    fitting = [path for path in sorted(root.rglob("*.pdf")) if first_page(path)[1]]
    for path in fitting[:: max(1, len(fitting) // max(1, count))][:count]:
        page, truth = first_page(path)
        read = read_picture(page.render(scale=dpi / 72).to_numpy()[:, :, :3].copy())
        name = path.relative_to(root)
        yield f"| {name} | its own page 1, drawn | {accuracy(truth, read):.3f} | {recall(truth, read):.3f} |"


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


_HEAD = """# Reading scans

Written by `python -m scripts.ocr_accuracy --pages {pages}`; do not edit by hand.

Pages without a usable text layer are drawn at {dpi} dpi and read by RapidOCR (PP-OCRv6, inside the installation), in
Chinese and English. The direction of the page and its lean are found first; recognised text bears its place and a
confidence. A document has half of `ALIOTH_INGEST__PARSE_TIMEOUT_S` for OCR, and each page with something to recognise
adds `ALIOTH_INGEST__OCR_PAGE_S` to it and to the limit for the whole file, up to `ALIOTH_INGEST__OCR_MAX_S`. So a
scan of hundreds of pages is read to its end; pages beyond that bound are named in the report. Korean, Cyrillic,
Arabic and other scripts are not recognised.

## Resolution

Character accuracy (1 - edit distance / length, blanks not counted) on {pages} page(s) of our own texts for each row,
drawn as a scanner would give them (300 dpi and 10.5 points where nothing else is said), then read at each resolution.
Lines are looked for in a smaller picture anyway, so a higher resolution costs little; {dpi} dpi is where English stops
gaining, and Chinese is read alike at all of them.

| language | scan | {columns} |
| --- | --- | {rule} |
"""


def page_text(files: Path, pages: int, drawn: int) -> str:
    """docs/ocr.md, measured now."""
    from ingest.parsers.ocr import DPI

    columns = " | ".join(f"{dpi} dpi" for dpi in RESOLUTIONS)
    text = _HEAD.format(pages=pages, dpi=DPI, columns=columns, rule=" | ".join("---:" for _ in RESOLUTIONS))
    text += "\n".join(drawn_rows(pages)) + "\n"
    text += f"\n## Turned pages\n\nAt {DPI} dpi.\n\n| language | page | character accuracy |\n| --- | --- | ---: |\n"
    text += "\n".join(turned_rows(pages)) + "\n"
    if files.is_dir():
        text += (
            "\n## Real files\n\nFiles of other projects with a known text. Accuracy counts every letter in its place, "
            "so a different order of\ncolumns or table cells costs it; the share of words found does not.\n\n"
            "| file | compared with | character accuracy | words found |\n| --- | --- | ---: | ---: |\n"
        )
        text += "\n".join([*real_rows(files), *page_rows(files, drawn, DPI)]) + "\n"
    return text


def main(arguments: Sequence[str]) -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--files", type=Path, default=ROOT.parent / "shared" / "eval" / "files")
    options.add_argument("--pages", type=int, default=1, help="drawn pages per case")
    options.add_argument("--drawn-pdfs", type=int, default=8, help="PDFs whose first page is read as a picture")
    chosen = options.parse_args(arguments)
    PAGE.write_text(page_text(chosen.files, chosen.pages, chosen.drawn_pdfs), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
