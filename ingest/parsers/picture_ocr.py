"""Letters in the pictures of Office files: screenshots and scanned pages, each read once, within the time for OCR."""

from __future__ import annotations

import hashlib
import io
import time
from dataclasses import dataclass, field, replace

from core.errors import DocumentError
from core.types import Block, BlockKind, Locator, Problem
from ingest.parsers.registry import Source

_LEAST_SIDE = 40
_LEAST_PIXELS = 12_000
"""Smaller pictures are icons and bullets."""
_LEAST_LETTERS = 2
_HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"BM", b"RIFF")


@dataclass(slots=True)
class PictureLetters:
    """Reads the pictures of one file. unread: how many were left for want of time."""

    source: Source
    unread: int = 0
    _seconds: float = 0.0
    _known: dict[bytes, Block | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._seconds = self.source.limits.ocr_seconds

    def read(self, data: bytes, place: Locator) -> Block | None:
        """The picture's text at `place`; None for one without, too small, of another kind, or met before."""
        if not data.startswith(_HEADS):
            return None
        digest = hashlib.sha256(data).digest()
        if digest not in self._known:
            self._known[digest] = self._recognised(data, place)
            return self._known[digest]
        return None

    def problems(self) -> list[Problem]:
        """What was left unread."""
        if not self.unread:
            return []
        message = f"The time for OCR was used up; {self.unread} pictures were not read."
        return [Problem("ocr_time_up", message)]

    def _recognised(self, data: bytes, place: Locator) -> Block | None:

        from PIL import Image

        from ingest.parsers.picture_file import FAULTS, FORMATS

        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
        except FAULTS:
            return None
        if min(width, height) < _LEAST_SIDE or width * height < _LEAST_PIXELS or self.source.limits.ocr_seconds <= 0:
            return None
        self._seconds += self.source.lend_ocr_time()
        if self._seconds <= 0:
            self.unread += 1
            return None
        started = time.monotonic()
        try:
            return self._text(data, place)
        except (*FAULTS, DocumentError):
            return None
        finally:
            self._seconds -= time.monotonic() - started

    def _text(self, data: bytes, place: Locator) -> Block | None:

        import numpy as np

        from ingest.parsers.enclosed import file_of
        from ingest.parsers.ocr import recognise
        from ingest.parsers.pdf_ocr import picture_text
        from ingest.parsers.picture_file import frame, opened

        with file_of(data) as path, opened(path, self.source.name) as image:
            upright = frame(image, 1, self.source.name)
        found = recognise(np.asarray(upright)[:, :, ::-1], self._seconds)
        self.unread += found.cut
        text = picture_text(found)
        if sum(map(str.isalnum, text)) < _LEAST_LETTERS:
            return None
        return Block(BlockKind.PICTURE, text, replace(place, ocr=round(found.confidence, 3)))
