"""Pages of running text drawn as a scanner would give them: clean, noisy, leaning, pale, small or badly packed."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FONTS = {
    "zh": ("NotoSerifCJK-Regular.ttc", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "uming.ttc"),
    "en": ("DejaVuSerif.ttf", "LiberationSerif-Regular.ttf", "DejaVuSans.ttf"),
}
_PAGE = (595, 842)
_MARGIN = 60


@dataclass(frozen=True)
class Scan:
    """One way in which a page is scanned. points: size of the letters. angle: degrees by which it leans to the left.

    ink, paper: shades 0–255. jpeg: quality, 0 for none. turn: clockwise quarter turns.
    """

    name: str
    dpi: int = 300
    points: float = 10.5
    noise: float = 0.0
    angle: float = 0.0
    ink: int = 20
    paper: int = 255
    jpeg: int = 0
    turn: int = 0


SCANS = (
    Scan("clean"),
    Scan("noise", noise=40),
    Scan("leaning by 1°", angle=1),
    Scan("leaning by 3°", angle=-3),
    Scan("leaning by 5°", angle=5),
    Scan("pale: grey on grey", ink=150, paper=205),
    Scan("JPEG of quality 15", jpeg=15),
    Scan("small letters: 7 points", points=7),
    Scan("scanned at 150 dpi", dpi=150),
    Scan("scanned at 100 dpi", dpi=100),
    Scan("all at once: 200 dpi, 2°, noise, pale, JPEG 30", dpi=200, noise=20, angle=2, ink=110, paper=220, jpeg=30),
)
TURNED = (Scan("turned by 90°", turn=1), Scan("upside down", turn=2), Scan("turned by 270°", turn=3))


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


def scanned_pages(language: str, count: int, scan: Scan, read_dpi: int) -> Iterator[tuple[Any, str]]:
    """Pages as pictures (height, width, 3) uint8 drawn at `read_dpi`, and what stands on them."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    path = font_for(language)
    if path is None:
        return
    scale = scan.dpi / 72
    font = ImageFont.truetype(str(path), round(scan.points * scale))
    rest = _wrapped(own_texts(language), font, (_PAGE[0] - 2 * _MARGIN) * scale)
    per_page = int((_PAGE[1] - 2 * _MARGIN) / (scan.points * 1.6))
    random = np.random.default_rng(7)
    for start in range(0, min(count * per_page, len(rest)), per_page):
        lines = rest[start : start + per_page]
        image = Image.new("L", (round(_PAGE[0] * scale), round(_PAGE[1] * scale)), scan.paper)
        draw = ImageDraw.Draw(image)
        for row, line in enumerate(lines):
            place = (_MARGIN * scale, (_MARGIN + row * scan.points * 1.6) * scale)
            draw.text(place, line, fill=scan.ink, font=font)
        if scan.angle:
            image = image.rotate(scan.angle, fillcolor=scan.paper, resample=Image.Resampling.BICUBIC)
        if scan.noise:
            grey = np.asarray(image, dtype="float32") + random.normal(0, scan.noise, image.size[::-1])
            image = Image.fromarray(np.clip(grey, 0, 255).astype("uint8"))
        image = _packed(image, scan.jpeg)
        size = (round(_PAGE[0] * read_dpi / 72), round(_PAGE[1] * read_dpi / 72))
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        picture = np.asarray(image)[:, :, None].repeat(3, axis=2)
        yield np.ascontiguousarray(np.rot90(picture, -scan.turn)), "".join(lines)


def _packed(image: Any, quality: int) -> Any:
    from PIL import Image

    if not quality:
        return image
    raw = io.BytesIO()
    image.save(raw, "JPEG", quality=quality)
    return Image.open(raw).convert("L")


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
