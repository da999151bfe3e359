"""Reads the raw header of a GGUF file by a stranger: every count, length and offset is checked before it is used."""

from __future__ import annotations

import functools
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from core.errors import WeightsError

MAX_HEADER_BYTES: Final = 128 * 1024 * 1024
"""A vocabulary of 250,000 tokens with its merges takes 15 MB."""
MAX_PAIRS: Final = 4096
MAX_TENSORS: Final = 65_536
MAX_NAME_BYTES: Final = 1024
MAX_TEXT_BYTES: Final = 1024 * 1024
MAX_ELEMENTS: Final = 4_000_000
"""Of all arrays together, so that the time stays within seconds."""
KEPT_ELEMENTS: Final = 1024
"""Longer arrays (the vocabulary) are stepped over, only their length is kept."""
MAX_DIMENSIONS: Final = 4
MAX_WEIGHTS: Final = 1 << 44

_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS: Final = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 11: "<q", 12: "<d"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counted:
    """An array that was stepped over."""

    length: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: shape as GGUF writes it (fastest dimension first), type by name, weights, bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    weights: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RawHeader:
    """Pairs and tensors as they stand in the file. header_bytes: where the tensors' data begin."""

    version: int
    size_bytes: int
    header_bytes: int
    pairs: dict[str, Any]
    tensors: tuple[TensorInfo, ...]


def read_raw(path: Path) -> RawHeader:
    """The header; reads no tensor.

    Raises:
        WeightsError: the file is missing, cut off, or breaks a rule of the format or a limit above.
    """
    try:
        with path.open("rb") as stream:
            cursor = _Cursor(stream, os.fstat(stream.fileno()).st_size, path)
            return _header(cursor)
    except OSError as error:
        raise WeightsError(f"Cannot read '{path}': {error.strerror or error}.", "Is the path right?") from error


class _Cursor:
    """Reads forward within the file and the limit for headers."""

    def __init__(self, stream: IO[bytes], size: int, path: Path) -> None:
        self._stream = stream
        self.size = size
        self.path = path
        self.at = 0
        self.elements = 0

    def wrong(self, why: str) -> WeightsError:
        return WeightsError(
            f"'{self.path}' is no sound GGUF file: {why} (near byte {self.at} of {self.size}).",
            "It may be cut off or damaged: get it again, and compare its sha256 with the publisher's.",
        )

    def take(self, count: int) -> bytes:
        self.require(count)
        data = self._stream.read(count)
        if len(data) != count:
            raise self.wrong("it became shorter while it was read")
        self.at += count
        return data

    def skip(self, count: int) -> None:
        self.require(count)
        self._stream.seek(count, os.SEEK_CUR)
        self.at += count

    def require(self, count: int) -> None:
        """That so many bytes follow, within file and limit."""
        if count > self.size - self.at:
            raise self.wrong(f"{count} more bytes are announced, {self.size - self.at} are left")
        if self.at + count > MAX_HEADER_BYTES:
            raise self.wrong(f"its header is over the limit of {MAX_HEADER_BYTES} bytes")

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, limit: int) -> str:
        length = self.number("<Q")
        if length > limit:
            raise self.wrong(f"a text of {length} bytes is announced, the limit is {limit} bytes")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.wrong("a text is not UTF-8") from None

    def skip_text(self) -> None:
        length = self.number("<Q")
        if length > MAX_TEXT_BYTES:
            raise self.wrong(f"a text of {length} bytes is announced, the limit is {MAX_TEXT_BYTES} bytes")
        self.skip(length)


def _header(cursor: _Cursor) -> RawHeader:
    if cursor.size < 24 or cursor.take(4) != b"GGUF":
        raise WeightsError(
            f"'{cursor.path}' is not a GGUF file: it does not begin with the four letters GGUF.",
            "Language models are GGUF files; pickles (.bin, .pt, .pth) are never loaded.",
        )
    version = cursor.number("<I")
    if version not in (2, 3):
        raise cursor.wrong(f"version {version} is unknown, versions 2 and 3 are read")
    tensors, pairs = cursor.number("<Q"), cursor.number("<Q")
    if tensors > MAX_TENSORS or pairs > MAX_PAIRS:
        raise cursor.wrong(f"{tensors} tensors and {pairs} values, the limits are {MAX_TENSORS} and {MAX_PAIRS}")
    values = _pairs(cursor, pairs)
    found = _tensors(cursor, tensors)
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise cursor.wrong(f"an alignment of {alignment!r}; it must be a power of two up to {1 << 20}")
    start = -(-cursor.at // alignment) * alignment
    _require_data(cursor, found, start, alignment)
    return RawHeader(version, cursor.size, start, values, tuple(info for info, _ in found))


def _pairs(cursor: _Cursor, count: int) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.text(MAX_NAME_BYTES)
        if not key or key in values:
            raise cursor.wrong(f"the name {key!r} is empty or stands twice")
        values[key] = _value(cursor, cursor.number("<I"))
    return values


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind == _STRING:
        return cursor.text(MAX_TEXT_BYTES)
    if kind == _ARRAY:
        return _array(cursor)
    return _scalar(cursor, kind)


def _scalar(cursor: _Cursor, kind: int) -> Any:
    if kind not in _SCALARS:
        raise cursor.wrong(f"a value of the unknown type {kind}")
    value = cursor.number(_SCALARS[kind])
    return bool(value) if kind == _BOOL else value


def _array(cursor: _Cursor) -> Any:
    kind, count = cursor.number("<I"), cursor.number("<Q")
    if kind != _STRING and kind not in _SCALARS:
        raise cursor.wrong(f"an array of the type {kind}, which may not stand in one")
    cursor.elements += count
    if cursor.elements > MAX_ELEMENTS:
        raise cursor.wrong(f"an array of {count} elements; all together may have {MAX_ELEMENTS}")
    cursor.require(count * (8 if kind == _STRING else struct.calcsize(_SCALARS[kind])))
    if count <= KEPT_ELEMENTS and kind != _STRING:
        return tuple(_scalar(cursor, kind) for _ in range(count))
    if kind == _STRING:
        for _ in range(count):
            cursor.skip_text()
    else:
        cursor.skip(count * struct.calcsize(_SCALARS[kind]))
    return Counted(count)


def _tensors(cursor: _Cursor, count: int) -> list[tuple[TensorInfo, int]]:
    """With the offset of each in the data."""
    found: list[tuple[TensorInfo, int]] = []
    names: set[str] = set()
    for _ in range(count):
        name = cursor.text(MAX_NAME_BYTES)
        if name in names:
            raise cursor.wrong(f"the tensor {name!r} stands twice")
        names.add(name)
        found.append(_tensor(cursor, name))
    return found


def _tensor(cursor: _Cursor, name: str) -> tuple[TensorInfo, int]:
    dimensions = cursor.number("<I")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.wrong(f"the tensor {name!r} has {dimensions} dimensions, 1 to {MAX_DIMENSIONS} are possible")
    shape = tuple(cursor.number("<Q") for _ in range(dimensions))
    weights = math.prod(shape)
    if not 0 < weights <= MAX_WEIGHTS:
        raise cursor.wrong(f"the tensor {name!r} has the shape {shape}")
    number = cursor.number("<I")
    if number not in tensor_types():
        raise cursor.wrong(f"the tensor {name!r} is of the unknown type {number}")
    type_name, block, size = tensor_types()[number]
    if shape[0] % block:
        raise cursor.wrong(f"the tensor {name!r} has rows of {shape[0]}, {type_name} needs multiples of {block}")
    return TensorInfo(name, shape, type_name, weights, weights // block * size), cursor.number("<Q")


def _require_data(cursor: _Cursor, found: list[tuple[TensorInfo, int]], start: int, alignment: int) -> None:
    end = start
    for info, offset in sorted(found, key=lambda pair: pair[1]):
        if offset % alignment or start + offset < end:
            raise cursor.wrong(f"the tensor {info.name!r} begins at {offset}, within another or not aligned")
        end = start + offset + info.size_bytes
        if end > cursor.size:
            raise cursor.wrong(f"the tensor {info.name!r} ends at byte {end}: {end - cursor.size} bytes are missing")


@functools.cache
def tensor_types() -> dict[int, tuple[str, int, int]]:
    """Number of a tensor type to its name, weights per block and bytes per block."""
    from gguf.constants import GGML_QUANT_SIZES

    return {int(kind): (kind.name, block, size) for kind, (block, size) in GGML_QUANT_SIZES.items()}
