"""LoRA adapters under ALIOTH_HOME/models/adapters: checked against their base, pinned, listed, taken out again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from core.errors import ConflictError, InputError, NotFoundError, WeightsError
from models.files.catalog import entry, location
from models.files.gguf_read import RawHeader, TensorInfo, read_raw
from models.files.store import copied, disk_error, incoming, place, records, require_room

FOLDER: Final = Path("models", "adapters")
"""Under ALIOTH_HOME."""
RECORD: Final = "adapters.json"
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_TYPES: Final = frozenset({"F32", "F16", "BF16", "Q8_0"})
_MAX_RANK: Final = 1024


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter that was imported. base: catalogue id of the model it was made for. rank: of its largest matrices.

    alpha: what its changes are multiplied by, over the rank. tensors: matrices of the base that it changes.
    """

    id: str
    file: str
    sha256: str
    base: str
    name: str
    architecture: str
    rank: int
    alpha: float
    tensors: int
    size_bytes: int


def adapters(folder: Path) -> dict[str, Adapter]:
    """Every adapter of the record by id, in alphabetical order; files are not read.

    Raises:
        WeightsError: the record is damaged.
    """
    record = folder / RECORD
    try:
        rows = json.loads(record.read_text(encoding="utf-8"))
        return {str(name): Adapter(id=str(name), **row) for name, row in sorted(rows.items())}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"Cannot read '{record}': {error}.", "Restore it from a backup, or remove it and import the adapters again."
        ) from error


def adapter(adapter_id: str, folder: Path) -> Adapter:
    """One of them.

    Raises:
        NotFoundError: none of this id.
    """
    found = adapters(folder)
    if adapter_id not in found:
        known = ", ".join(map(repr, found)) or "none"
        raise NotFoundError(
            f"There is no adapter {adapter_id!r}; here are: {known}.", "`alioth models adapters import` brings one in."
        )
    return found[adapter_id]


def import_adapter(source: Path, home: Path, base_id: str, adapter_id: str = "", sha256: str = "") -> Adapter:
    """Copy a GGUF adapter in, checked against the model it is for, hashed and pinned. Nothing is left when it fails.

    Args:
        base_id: catalogue id of a language model that is on this machine.
        adapter_id: default: by the file's name.
        sha256: that the file must have; empty takes any.

    Raises:
        NotFoundError: no such file or base. WeightsError: it is no adapter, for another base, damaged, or of another
            sha256. ConflictError: the id is taken. InputError: it is no usable id. LimitError: no room.
    """
    source, folder = source.expanduser().absolute(), home / FOLDER
    if not source.is_file():
        raise NotFoundError(f"There is no file '{source}'.", "Give a LoRA adapter in GGUF.")
    wanted = adapter_id or re.sub(r"[^a-z0-9._-]+", "-", source.name.lower().removesuffix(".gguf")).strip("-.")
    if not _ID.fullmatch(wanted):
        raise InputError(f"{wanted!r} cannot be an id: a-z, 0-9, '.', '_' and '-', up to 80.", "Give one with --id.")
    _require_free(wanted, folder)
    base = base_file(base_id, home)
    require_fits(source, base, base_id)
    require_room(home, source.stat().st_size)
    with incoming(home, f"{wanted}.gguf") as staged:
        digest = copied({staged.name: source}, staged.parent)[staged.name]
        if sha256 and digest != sha256.lower():
            raise WeightsError(
                f"'{source}' has the sha256 {digest}, not {sha256.lower()} as you gave.",
                "It is another file or was damaged on the way. Nothing was taken over.",
            )
        found = require_fits(staged, base, base_id)
        require_finite(staged)
        made = replace(found, id=wanted, file=f"{wanted}.gguf", sha256=digest)
        with records(home):
            _require_free(wanted, folder)
            place(staged, folder / made.file)
            _write(folder, {**adapters(folder), wanted: made})
    return made


def verify_adapter(adapter_id: str, home: Path) -> Adapter:
    """The adapter, after its file was read whole: hash, header, fit to its base, finite numbers.

    Raises:
        NotFoundError, WeightsError: as its name says.
    """
    folder = home / FOLDER
    found = adapter(adapter_id, folder)
    file = pinned_file(found, folder)
    require_fits(file, base_file(found.base, home), found.base)
    require_finite(file)
    return found


def remove_adapter(adapter_id: str, home: Path, used_by: Mapping[str, str]) -> int:
    """Delete its file and its row; the bytes that became free.

    Args:
        used_by: adapter id to who asks for it.

    Raises:
        NotFoundError: none of this id. ConflictError: in use.
    """
    folder = home / FOLDER
    if adapter_id in used_by:
        raise ConflictError(f"The adapter {adapter_id!r} is in use: {used_by[adapter_id]}.", "Take it out there first.")
    with records(home):
        found = adapter(adapter_id, folder)
        _write(folder, {name: row for name, row in adapters(folder).items() if name != adapter_id})
        (folder / found.file).unlink(missing_ok=True)
    return found.size_bytes


def pinned_file(found: Adapter, folder: Path) -> Path:
    """The path of its file, after every byte was hashed.

    Raises:
        WeightsError: it is gone or has another sha256 than pinned.
    """
    path = folder / found.file
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"The file of the adapter {found.id!r} cannot be read: '{path}': {error.strerror}.", "Import it again."
        ) from error
    if digest != found.sha256:
        raise WeightsError(
            f"'{path}' is not the file that was pinned: sha256 is {digest}, must be {found.sha256}.",
            "It is damaged or was replaced. Remove the adapter and import it again.",
        )
    return path


def base_file(base_id: str, home: Path) -> Path:
    """The GGUF file of a language model on this machine.

    Raises:
        InputError: no GGUF language model. NotFoundError: no such id. WeightsError: not on this machine.
    """
    found = entry(base_id, home)
    path = location(found, home)
    if found.role != "llm" or found.kind != "gguf":
        raise InputError(f"{base_id!r} is no language model in GGUF.", "Give the adapter's base with --base.")
    if not path.is_file():
        raise WeightsError(f"The base {base_id!r} is not on this machine.", f"`alioth models pull {base_id}` gets it.")
    return path


def require_fits(file: Path, base: Path, base_id: str) -> Adapter:
    """Facts of an adapter's file whose header fits the base; id and sha256 are left empty. No tensor is read.

    Raises:
        WeightsError: damaged, no LoRA adapter, or made for a model of another architecture or other shapes.
    """
    raw, below = read_raw(file), read_raw(base)
    pairs = raw.pairs
    kind, what = pairs.get("general.type"), pairs.get("adapter.type")
    if kind != "adapter" or what != "lora":
        raise WeightsError(
            f"'{file}' is no LoRA adapter: general.type is {str(kind)[:40]!r} and adapter.type {str(what)[:40]!r}, "
            "they must be 'adapter' and 'lora'.",
            "Convert it with llama.cpp's convert_lora_to_gguf.py.",
        )
    if any(key.startswith("adapter.alora.") for key in pairs):
        raise WeightsError(f"'{file}' is an activated LoRA, which is not supported.", "Train it as a plain LoRA.")
    architecture, expected = pairs.get("general.architecture"), below.pairs.get("general.architecture")
    if architecture != expected:
        raise WeightsError(
            f"'{file}' is made for the architecture {str(architecture)[:40]!r}, but {base_id!r} is of {expected!r}.",
            "Import it with --base and the model that it was trained on.",
        )
    alpha = pairs.get("adapter.lora.alpha", 0.0)
    if not isinstance(alpha, int | float) or not 0 <= alpha <= 1e6:
        raise WeightsError(f"'{file}' has adapter.lora.alpha = {str(alpha)[:40]!r}; 0 to 1e6 is possible.")
    rank, count = _require_shapes(file, raw, {tensor.name: tensor for tensor in below.tensors}, base_id)
    name = str(pairs.get("general.name", file.stem))[:200]
    return Adapter("", "", "", base_id, name, str(architecture), rank, float(alpha), count, raw.size_bytes)


def _require_shapes(file: Path, raw: RawHeader, base: Mapping[str, TensorInfo], base_id: str) -> tuple[int, int]:
    """Largest rank, and how many matrices are changed."""
    halves: dict[str, dict[str, TensorInfo]] = {}
    for tensor in raw.tensors:
        stem, _, half = tensor.name.rpartition(".")
        if half not in ("lora_a", "lora_b") or tensor.type not in _TYPES:
            raise WeightsError(
                f"'{file}' has the tensor {tensor.name[:80]!r} of type {tensor.type}; an adapter has pairs "
                f"'….lora_a' and '….lora_b' of {', '.join(sorted(_TYPES))}.",
                "Convert it with llama.cpp's convert_lora_to_gguf.py.",
            )
        halves.setdefault(stem, {})[half] = tensor
    if not halves:
        raise WeightsError(f"'{file}' changes nothing: it has no tensors.", "Convert it again.")
    return max(_rank(file, stem, pair, base.get(stem), base_id) for stem, pair in halves.items()), len(halves)


def _rank(file: Path, stem: str, pair: Mapping[str, TensorInfo], weight: TensorInfo | None, base_id: str) -> int:
    if len(pair) != 2:
        raise WeightsError(f"'{file}' has only one half of the pair for {stem[:80]!r}.", "Convert it again.")
    a, b = _sides(pair["lora_a"]), _sides(pair["lora_b"])
    if weight is None:
        raise WeightsError(
            f"'{file}' changes {stem[:80]!r}, which {base_id!r} does not have.",
            "Import it with --base and the model that it was trained on.",
        )
    inside, outside = _sides(weight)[:2]
    if stem.startswith("token_embd."):
        # looked up by row, so that its halves lie the other way round
        fits, rank = (b[1] == inside and a[1] == outside and a[0] == b[0]), a[0]
    else:
        fits, rank = (a[0] == inside and b[1] == outside and a[1] == b[0]), a[1]
    if not fits or a[2:] != b[2:] or a[2:] != _sides(weight)[2:] or not 0 < rank <= _MAX_RANK:
        raise WeightsError(
            f"'{file}' changes {stem[:80]!r} by matrices of {pair['lora_a'].shape} and {pair['lora_b'].shape}; "
            f"that of {base_id!r} is {weight.shape}, the rank may be up to {_MAX_RANK}.",
            "Import it with --base and the model that it was trained on.",
        )
    return rank


def _sides(tensor: TensorInfo) -> tuple[int, int, int, int]:
    first, second, third, fourth = (*tensor.shape, 1, 1, 1)[:4]
    return first, second, third, fourth


def require_finite(file: Path) -> None:
    """Nothing when every number of the adapter is finite: others would make the model write noise.

    Raises:
        WeightsError: one is not.
    """
    import numpy as np
    from gguf import GGUFReader
    from gguf.quants import dequantize

    for tensor in GGUFReader(file).tensors:  # its header was checked by our own reader before
        values = dequantize(tensor.data, tensor.tensor_type)
        if not np.isfinite(values).all():
            raise WeightsError(f"'{file}' has numbers in {tensor.name!r} that are not finite.", "Train it again.")


def _require_free(wanted: str, folder: Path) -> None:
    if wanted in adapters(folder):
        raise ConflictError(f"There is an adapter {wanted!r} already.", "Remove it first, or give another --id.")


def _write(folder: Path, rows: Mapping[str, Adapter]) -> None:
    data: dict[str, dict[str, Any]] = {name: asdict(row) for name, row in rows.items()}
    for row in data.values():
        del row["id"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=RECORD, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        place(Path(name), folder / RECORD)
    except OSError as error:
        raise disk_error(error, folder / RECORD) from error
