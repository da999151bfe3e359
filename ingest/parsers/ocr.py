"""Letters in a picture by RapidOCR (Chinese and English, offline): upright or turned, with boxes and confidence."""

from __future__ import annotations

import functools
import itertools
import logging
import math
import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

from ingest.parsers.stopwatch import OCR_TIME

logger = logging.getLogger(__name__)

DPI = 200
"""Resolution at which pages are drawn for recognition; `docs/ocr.md` compares 120, 150, 200 and 300."""
MIN_CONFIDENCE = 0.6
"""Lines below are left out: they are mostly drawings taken for letters."""
POOR = 0.85
"""Mean confidence of a page below which a person should look at it."""
MAX_PIXELS = 12_000_000
"""Of a picture before it is made smaller; bounds the memory of recognition to about 1.3 GB of address space."""
_FIND_SIDE = 1600
"""Longest side of the picture in which lines are looked for; their letters are read at full resolution."""
_SMALL_SIDE = 600
_MAGNIFIED = 3.0
"""Small pictures are made larger, up to so many times, until their shorter side has so many pixels."""
_STRIP = 64
_TALL = 1.5
_LONGEST = 90
"""Width of a line in heights beyond which it is a drawn rule."""
_LOWEST = 6
_SAMPLES = 8


Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A recognised line in pixels of the picture turned upright; confidence 0–1."""

    text: str
    x0: float
    y0: float
    x1: float
    y1: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Recognition:
    """What was read in one picture.

    lines: in no useful order. rules: drawn strokes (x0, y0, x1, y1) of the upright picture, such as of tables.
    turn: clockwise quarter turns of the text in the picture as given. skew: degrees by which its lines fall to the
    right. doubtful: lines left out for low confidence. cut: the time was over before the last line.
    scale: pixels of the picture that was read per pixel of the one given.
    """

    lines: tuple[ReadLine, ...] = ()
    rules: tuple[Box, ...] = ()
    turn: int = 0
    skew: float = 0.0
    doubtful: int = 0
    cut: bool = False
    scale: float = 1.0

    @property
    def confidence(self) -> float:
        """Mean over letters; 0 without lines."""
        letters = sum(len(line.text) for line in self.lines)
        return sum(line.confidence * len(line.text) for line in self.lines) / letters if letters else 0.0


@OCR_TIME
def recognise(image: Any, seconds: float = math.inf) -> Recognition:
    """Read a picture.

    Args:
        image: (height, width, 3) uint8, blue first. seconds: after which no further line is begun.
    """
    import numpy as np

    deadline = time.monotonic() + seconds
    given = image.shape[0]
    image = np.ascontiguousarray(_bounded(image))
    scale = image.shape[0] / max(1, given)
    quads = _find(image)
    if not quads:
        return Recognition()
    tall = sum(_height(quad) for quad in quads if _height(quad) > _TALL * _width(quad))
    level = sum(_width(quad) for quad in quads if _height(quad) <= _TALL * _width(quad))
    turn = 1 if tall > 1.5 * level else 0
    upright, quads = _turned(image, quads, turn)
    if _upside_down(upright, quads):
        upright, quads = _turned(upright, quads, 2)
        turn = (turn + 2) % 4
    return replace(_read(upright, quads, turn, deadline), scale=scale)


@OCR_TIME
def read_line(image: Any) -> tuple[str, float]:
    """Text and confidence of a picture of one line."""
    found = _engine()(image, use_det=False, use_cls=False, use_rec=True)
    if not found.txts:
        return "", 0.0
    return str(found.txts[0]).strip(), float(found.scores[0])


def _drawn_rules(image: Any) -> list[Box]:
    """Long level and upright strokes of an upright picture."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    dark = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 15, 12)
    out: list[Box] = []
    length = max(40, min(image.shape[:2]) // 25)
    for shape in ((length, 1), (1, length)):
        strokes = cv2.morphologyEx(dark, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, shape))
        strokes = cv2.dilate(strokes, cv2.getStructuringElement(cv2.MORPH_RECT, (3, 3)))
        _, _, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
        for x, y, width, height, _ in stats[1:2000]:
            if min(width, height) < 0.2 * max(width, height):
                out.append((float(x), float(y), float(x + width), float(y + height)))
    return out


@functools.cache
def _engine() -> Any:
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return RapidOCR(
        params={
            "Global.log_level": "critical",
            "Global.max_side_len": 6000,
            "Det.limit_type": "max",
            "Det.limit_side_len": _FIND_SIDE,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )


def _bounded(image: Any) -> Any:
    import cv2

    height, width = image.shape[:2]
    if height * width <= MAX_PIXELS:
        return image[:, :, :3]
    scale = (MAX_PIXELS / (height * width)) ** 0.5
    return cv2.resize(image[:, :, :3], (int(width * scale), int(height * scale)), interpolation=cv2.INTER_AREA)


def _find(image: Any) -> list[Any]:
    """Corners (4, 2) of each line of letters, clockwise from the top left."""
    import cv2
    import numpy as np

    height, width = image.shape[:2]
    if height <= _STRIP and width > 5 * height:  # cut out around one line: looking for it needs fifty times its area
        return [np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype="float32")]
    scale = min(_FIND_SIDE / max(height, width), max(1.0, _SMALL_SIDE / min(height, width)), _MAGNIFIED)
    small = image
    if scale != 1:
        small = cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=3)
    found = _engine()(small, use_det=True, use_cls=False, use_rec=False)
    if getattr(found, "boxes", None) is None:
        return []
    quads = [np.asarray(box, dtype="float32") / scale for box in found.boxes]
    return [quad for quad in quads if min(_width(quad), _height(quad)) >= _LOWEST]


def _width(quad: Any) -> float:
    return math.dist(quad[0], quad[1])


def _height(quad: Any) -> float:
    return math.dist(quad[0], quad[3])


def _turned(image: Any, quads: list[Any], turn: int) -> tuple[Any, list[Any]]:
    """The picture turned back by quarter turns, and its boxes with it."""
    import numpy as np

    if turn == 0:
        return image, quads
    height, width = image.shape[:2]
    out = []
    for quad in quads:
        if turn == 1:
            points = np.stack([quad[:, 1], width - quad[:, 0]], axis=1)
            out.append(np.ascontiguousarray(np.roll(points, -1, axis=0), dtype="float32"))
        else:
            points = np.stack([width - quad[:, 0], height - quad[:, 1]], axis=1)
            out.append(np.ascontiguousarray(np.roll(points, -2, axis=0), dtype="float32"))
    return np.ascontiguousarray(np.rot90(image, turn)), out


def _upside_down(image: Any, quads: list[Any]) -> bool:
    """The direction in which the longest lines read better; a classifier asks first, recognition decides."""
    import cv2

    longest = sorted((q for q in quads if _width(q) > 2 * _height(q)), key=_width, reverse=True)[:_SAMPLES]
    crops = [_crop(image, quad) for quad in longest]
    suspicious = 0
    for crop in crops:
        found = _engine()(crop, use_det=False, use_cls=True, use_rec=False)
        label, score = found.cls_res[0] if found.cls_res else ("0", 0.0)
        suspicious += label == "180" and score > 0.6
    if suspicious * 3 < len(crops) or not crops:
        return False
    middle = crops[len(crops) // 2 :][:3]
    as_is = statistics.mean(read_line(crop)[1] for crop in middle)
    flipped = statistics.mean(read_line(cv2.rotate(crop, cv2.ROTATE_180))[1] for crop in middle)
    return flipped > as_is


def _crop(image: Any, quad: Any) -> Any:
    """The line's picture, made straight."""
    import cv2
    import numpy as np

    width, height = max(1, round(_width(quad))), max(1, round(_height(quad)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype="float32")
    matrix = cv2.getPerspectiveTransform(quad, target)
    crop = cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.rot90(crop)) if height >= _TALL * width else crop


def _read(image: Any, quads: list[Any], turn: int, deadline: float) -> Recognition:
    skew = _skew(quads)
    height, width = image.shape[:2]
    rules = [] if skew else _drawn_rules(image)
    quads = [part for quad in quads for part in _split(quad, rules)]
    lines: list[ReadLine] = []
    doubtful, cut = 0, False
    for quad in quads:
        if time.monotonic() > deadline:
            cut = True
            break
        if max(_width(quad), _height(quad)) > _LONGEST * min(_width(quad), _height(quad)):
            continue
        text, score = read_line(_crop(image, quad))
        if not text:
            continue
        if score < MIN_CONFIDENCE:
            doubtful += 1
            continue
        xs, ys = zip(*(_straight(x, y, skew, width / 2, height / 2) for x, y in quad), strict=True)
        lines.append(ReadLine(text, min(xs), min(ys), max(xs), max(ys), round(score, 4)))
    return Recognition(tuple(lines), tuple(rules), turn, skew, doubtful, cut)


def _split(quad: Any, rules: list[Box]) -> list[Any]:
    """A line that was found across the rules of a table, cut at them."""
    import numpy as np

    left, top, right, bottom = quad[:, 0].min(), quad[:, 1].min(), quad[:, 0].max(), quad[:, 1].max()
    high = bottom - top
    cuts = sorted(
        (x0 + x1) / 2
        for x0, y0, x1, y1 in rules
        if y1 - y0 > max(x1 - x0, 1.8 * high) and y0 <= top + 0.3 * high and y1 >= bottom - 0.3 * high
        if left + 0.4 * high < (x0 + x1) / 2 < right - 0.4 * high
    )
    edges = [left, *cuts, right]
    if not cuts or high > 0.5 * (right - left):
        return [quad]
    return [
        np.array([[a + 1, top], [b - 1, top], [b - 1, bottom], [a + 1, bottom]], dtype="float32")
        for a, b in itertools.pairwise(edges)
        if b - a > 0.4 * high
    ]


def _skew(quads: list[Any]) -> float:
    """Degrees by which long lines fall to the right; 0 when small or without agreement."""
    angles = [
        math.degrees(math.atan2(quad[1][1] - quad[0][1], quad[1][0] - quad[0][0]))
        for quad in quads
        if _width(quad) > 6 * _height(quad)
    ]
    if len(angles) < 4:
        return 0.0
    middle = statistics.median(angles)
    return round(middle, 2) if 0.25 < abs(middle) < 12 else 0.0


def _straight(x: float, y: float, skew: float, cx: float, cy: float) -> tuple[float, float]:
    """A point of the picture turned about its middle by -skew degrees."""
    if not skew:
        return float(x), float(y)
    sine, cosine = math.sin(math.radians(-skew)), math.cos(math.radians(-skew))
    dx, dy = float(x) - cx, float(y) - cy
    return cx + dx * cosine - dy * sine, cy + dx * sine + dy * cosine
