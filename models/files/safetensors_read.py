"""Checks folders of weights by strangers: sound safetensors headers, no pickle, nothing that runs code."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard

from core.errors import WeightsError

MAX_HEADER_BYTES: Final = 32 * 1024 * 1024
MAX_JSON_BYTES: Final = 64 * 1024 * 1024
MAX_DIMENSIONS: Final = 8
MAX_FILES: Final = 200

SAFE_SUFFIXES: Final = frozenset({".safetensors", ".json", ".txt", ".model", ".md", ".jinja"})
"""Of files that may stand in a model folder; `.model` is a sentencepiece vocabulary."""
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib", ".h5"})

_BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


def read_safetensors_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes; reads no tensor.

    Raises:
        WeightsError: missing, cut off, or breaks a rule of the format.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            lead = stream.read(8)
            length = struct.unpack("<Q", lead)[0] if len(lead) == 8 else 0
            if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
                raise _wrong(path, f"a header of {length} bytes in a file of {size} (limit {MAX_HEADER_BYTES})")
            text = stream.read(length)
    except OSError as error:
        raise WeightsError(f"Cannot read '{path}': {error.strerror or error}.", "Is the path right?") from error
    return _shapes(path, _parsed(path, text), size - 8 - length)


def require_safe_folder(folder: Path) -> None:
    """Nothing when the folder holds safetensors and text only, and asks for no code of its own.

    Raises:
        WeightsError: a pickle, a program or another kind of file; a link; code named in a configuration; no weights.
    """
    files = list(_files(folder))
    for file in files:
        _require_safe_name(file)
    weights = [file for file in files if file.suffix == ".safetensors"]
    if not weights:
        raise WeightsError(
            f"'{folder}' has no weights: no .safetensors file is there.",
            "Take a model that is published as safetensors; pickles (.bin, .pt) are never loaded.",
        )
    for file in weights:
        read_safetensors_header(file)
    for file in files:
        if file.name.endswith(".safetensors.index.json"):
            _require_all_parts(file)
    for file in files:
        if file.suffix == ".json":
            _require_no_code(file)


def _require_all_parts(index: Path) -> None:
    data = _parsed(index, index.read_bytes()) if index.stat().st_size <= MAX_JSON_BYTES else None
    places = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(places, dict) or not places:
        raise _wrong(index, "it names no parts")
    for name in sorted({str(one) for one in places.values()}):
        if "/" in name or not (index.parent / name).is_file():
            raise WeightsError(
                f"'{index.parent}' lacks the part {name[:200]!r}, which '{index.name}' names.",
                "Get every part of the model.",
            )


def _files(folder: Path) -> Iterable[Path]:
    found = 0
    for file in sorted(folder.rglob("*")):
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise WeightsError(f"'{file}' is a link or no plain file.", "Copy the files themselves.")
        if file.is_file():
            found += 1
            if found > MAX_FILES:
                raise WeightsError(f"'{folder}' has over {MAX_FILES} files.", "Give the folder of one model.")
            yield file


def _require_safe_name(file: Path) -> None:
    suffix = file.suffix.lower()
    if suffix in SAFE_SUFFIXES or file.name == ".gitattributes":
        return
    kind = "a pickle, which can run any program when it is loaded" if suffix in PICKLES else "no part of a safe model"
    raise WeightsError(
        f"'{file}' is {kind}.",
        f"A model folder holds {', '.join(sorted(SAFE_SUFFIXES))} only. Remove the file, or take another model.",
    )


def _require_no_code(file: Path) -> None:
    if file.stat().st_size > MAX_JSON_BYTES:
        raise _wrong(file, f"{file.stat().st_size} bytes of JSON, the limit is {MAX_JSON_BYTES}")
    data = _parsed(file, file.read_bytes())
    own_code = isinstance(data, dict) and data.get("auto_map")
    if file.name == "modules.json" and isinstance(data, list):
        types = [str(row.get("type")) if isinstance(row, dict) else "" for row in data]
        own_code = own_code or not all(name.startswith("sentence_transformers.") for name in types)
    if own_code:
        raise WeightsError(
            f"'{file}' asks for program code that comes with the model.",
            "Such models are never loaded (trust_remote_code is off). Take one that the libraries know.",
        )


def _parsed(path: Path, text: bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_no_twice)
    except (ValueError, RecursionError) as error:
        raise _wrong(path, f"its JSON cannot be read, {str(error)[:200]}") from None


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a name stands twice")
    return data


def _shapes(path: Path, header: object, data_bytes: int) -> dict[str, tuple[int, ...]]:
    if not isinstance(header, dict):
        raise _wrong(path, "its header is no JSON object")
    shapes: dict[str, tuple[int, ...]] = {}
    spans: list[tuple[int, int, str]] = []
    for name, row in header.items():
        if name == "__metadata__":
            continue
        shape, begin, end = _tensor(path, name, row)
        shapes[name] = shape
        spans.append((begin, end, name))
    at = 0
    for begin, end, name in sorted(spans):
        if begin != at:
            raise _wrong(path, f"the tensor {name[:80]!r} begins at {begin}, not at {at}")
        at = end
    if at != data_bytes:
        raise _wrong(path, f"its tensors take {at} bytes, the file holds {data_bytes}")
    if not shapes:
        raise _wrong(path, "it holds no tensor")
    return shapes


def _tensor(path: Path, name: str, row: object) -> tuple[tuple[int, ...], int, int]:
    fields: Mapping[str, Any] = row if isinstance(row, dict) else {}
    bits = _BITS.get(str(fields.get("dtype")))
    shape: object = fields.get("shape")
    offsets: object = fields.get("data_offsets")
    if not (_whole(shape) and _whole(offsets) and len(shape) <= MAX_DIMENSIONS and len(offsets) == 2 and bits):
        raise _wrong(path, f"the tensor {name[:80]!r} has no proper type, shape or place")
    begin, end = offsets
    if begin > end or (end - begin) * 8 != math.prod(shape) * bits:
        raise _wrong(path, f"the tensor {name[:80]!r} has another size than its shape and type say")
    return tuple(shape), begin, end


def _whole(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(one) is int and 0 <= one < 1 << 48 for one in values)


def _wrong(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"'{path}' is not sound: {why}.", "It may be cut off or damaged: get it again, and compare its sha256."
    )
