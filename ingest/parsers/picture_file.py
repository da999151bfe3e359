"""Picture files, opened within bounds: upright as the camera meant them, in plain colours, frame by frame."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import DocumentTooLargeError, UnreadableError

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
FAULTS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)
"""What Pillow raises on damaged files."""
MAX_MEGAPIXELS = 80
"""Largest picture that is opened: an A3 page at 600 dpi; one of 65,000 x 65,000 points takes 13 GB of memory."""
_LONGEST = 842.0
"""Points of the longer side of a picture shown as a page: A4. Smaller pictures have a point per pixel."""


@contextmanager
def opened(path: Path, name: str) -> Iterator[Any]:
    """The picture, not yet decoded.

    Raises:
        UnreadableError: damaged. DocumentTooLargeError: more pixels than the limit.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the size is checked below, and odd EXIF data is no reason to refuse
        Image.MAX_IMAGE_PIXELS = None
        try:
            image = Image.open(path, formats=FORMATS)
        except FAULTS as error:
            raise _damaged(name) from error
        with image:
            yield image


def frame_count(image: Any) -> int:
    """Pages of a TIFF; of moving pictures the first frame alone is a page."""
    return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def frame(image: Any, number: int, name: str) -> Any:
    """Frame `number` (from 1) as an upright RGB picture; transparent parts are white.

    Raises:
        UnreadableError: damaged. DocumentTooLargeError: more pixels than the limit.
    """
    from PIL import Image, ImageOps

    try:
        if number > 1:
            image.seek(number - 1)
        width, height = image.size
        if width * height > MAX_MEGAPIXELS * 1_000_000:
            raise DocumentTooLargeError(
                f"Cannot ingest {name!r}: a picture of {width} x {height} pixels is over the limit of "
                f"{MAX_MEGAPIXELS} million pixels.",
                "Save it at a lower resolution (300 dpi is enough) and add it again.",
                page=number,
            )
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I;16", "I", "F")) and upright.mode != "1":
            upright = _eight_bit(upright)
        if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
            upright = upright.convert("RGBA")
            ground = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(ground, upright)
        return upright.convert("RGB")
    except FAULTS as error:
        raise _damaged(name, number) from error


def points_per_pixel(size: tuple[int, int]) -> float:
    """How long a pixel is on the page that the picture is shown as."""
    return min(1.0, _LONGEST / max(*size, 1))


def _eight_bit(image: Any) -> Any:
    """Pictures of 16 or 32 bits per point, stretched over their own range."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image, dtype="float32")
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255.0 / (high - low)) if high > low else values * 0 + 255
    return Image.fromarray(scaled.astype("uint8"))


def _damaged(name: str, number: int | None = None) -> UnreadableError:
    return UnreadableError(
        f"Cannot read {name!r}: the picture is damaged.",
        "Open it in a picture viewer, save it again and add that.",
        number,
    )
