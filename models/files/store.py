"""Model files under ALIOTH_HOME/models: brought in by hand, pinned, checked for room, taken out again."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import ConflictError, InputError, LimitError, NotFoundError, WeightsError
from models.chatml import template_of
from models.files import toml_blocks
from models.files.catalog import OWN, CatalogEntry, catalog, entry, location
from models.files.gguf import read_header, require_language_model
from models.files.safetensors_read import require_safe_folder
from models.files.weights import PINS, VerifiedFiles

INCOMING: Final = ".incoming"
SPARE_BYTES: Final = 256 * 1024 * 1024
"""Left free on the disk: the databases live there too."""
_AT_WORK: Final = "at-work.lock"
_BLOCK: Final = 1 << 20
_LONGEST_PREFIX: Final = 1000
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person says of a model that the catalogue does not know; None follows the files."""

    id: str | None = None
    languages: tuple[str, ...] = ("en",)
    licence: str = "not stated"
    template: str | None = None
    query_prefix: str = ""
    document_prefix: str = ""
    sha256: str = ""


def import_model(source: Path, home: Path, wanted: Wanted, progress: Progress | None = None) -> CatalogEntry:
    """Copy a GGUF file or a folder of safetensors in, checked, hashed and pinned. Nothing is left when it fails.

    A file or folder that bears the name of a catalogue entry becomes that entry; else a new one is written to
    `home/models/catalog.toml`.

    Raises:
        WeightsError: the file breaks a rule, or has another sha256 than `wanted.sha256`.
        ConflictError: that model is here already. LimitError: no room. InputError: the id is not usable.
    """
    source = source.expanduser().absolute()
    if not source.exists():
        raise NotFoundError(f"There is nothing at '{source}'.", "Give a GGUF file or a folder with safetensors.")
    _check(source)
    known = _known(source, home, wanted.id)
    target = location(known, home) if known else home / "models" / source.name
    if target.exists():
        raise ConflictError(f"'{target}' is here already.", "`alioth models remove` takes a model out.")
    files = _files(source) if source.is_dir() else {target.name: source}
    require_room(home, sum(file.stat().st_size for file in files.values()))
    with incoming(home, target.name) as staged:
        pins = copied(files, staged if source.is_dir() else staged.parent, progress)
        _require_hash(source, pins, wanted.sha256)
        _check(staged)
        found = known or _new_entry(staged, source.name, home, wanted, pins)
        require_fits(found, staged)
        # first: a file in place without a pin could neither be used nor taken out
        pin(found, pins, home, new=known is None)
        place(staged, target)
    _remember(target, home)
    return entry(found.id, home)


def remove_model(model_id: str, home: Path, in_use: Mapping[str, str]) -> int:
    """Delete the files of a model, its pins and its own entry; the bytes that became free.

    Args:
        in_use: id to who uses it.

    Raises:
        ConflictError: in use, or bundled. NotFoundError: no such id, or no files.
    """
    found = entry(model_id, home)
    if found.bundled:
        raise ConflictError(f"{model_id!r} comes with Alioth and cannot be removed.", "Choose another with `use`.")
    if model_id in in_use:
        raise ConflictError(f"{model_id!r} is in use: {in_use[model_id]}.", "Choose another one there first.")
    path, own = location(found, home), home / OWN
    present = path.exists()
    freed = sum(file.stat().st_size for file in _files(path).values()) if present else 0
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    with records(home):
        pinned = toml_blocks.drop(home / "models" / PINS, f"[{toml_blocks.value(model_id)}]", "")
        listed = toml_blocks.drop(own, "[[model]]", "[model.", holds=f"id = {toml_blocks.value(model_id)}")
    if not (present or pinned or listed):
        raise NotFoundError(f"{model_id!r} is not on this machine.", "`alioth models list` shows what is.")
    return freed


def pin(found: CatalogEntry, pins: Mapping[str, str], home: Path, *, new: bool = False) -> None:
    """Write which sha256 each file must have, and for a new model its entry."""
    with records(home):
        toml_blocks.drop(home / "models" / PINS, f"[{toml_blocks.value(found.id)}]", "")
        toml_blocks.append(home / "models" / PINS, toml_blocks.table(f"[{toml_blocks.value(found.id)}]", pins))
        if new:
            toml_blocks.append(home / OWN, _entry_block(found))


@contextmanager
def records(home: Path) -> Iterator[None]:
    """Hold it from reading a record of models or adapters until it is written: one process at a time, others wait.

    Raises:
        LimitError, WeightsError: the folder cannot be written.
    """
    folder = home / "models"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".records.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise disk_error(error, folder) from error
    with lock:
        yield


def require_room(home: Path, size_bytes: int) -> None:
    """Nothing when so many bytes fit on the disk with some to spare.

    Raises:
        LimitError: they do not.
    """
    folder = home / "models"
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < size_bytes + SPARE_BYTES:
        raise LimitError(
            f"The model takes {_mb(size_bytes)} MB; '{folder}' has {_mb(free)} MB free, and {_mb(SPARE_BYTES)} MB must "
            "stay free.",
            "Free some space, or take a smaller model.",
        )


@contextmanager
def incoming(home: Path, name: str) -> Iterator[Path]:
    """A path beside the models to build one at; gone afterwards unless it was put in place.

    What a process that was killed left behind goes too.

    Raises:
        LimitError: the disk is full. WeightsError: it cannot be written.
    """
    parent = home / "models" / INCOMING
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left(parent)
        fresh = Path(tempfile.mkdtemp(dir=parent, prefix="new-"))
        folder = fresh.with_name(fresh.name.replace("new-", "import-", 1))
        try:
            with (fresh / _AT_WORK).open("w") as at_work:
                fcntl.flock(at_work, fcntl.LOCK_EX)
                fresh.rename(folder)  # locked before anybody may take it for left behind
                yield folder / name
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, parent) from error


def _remove_left(parent: Path) -> None:
    """Folders of `incoming` whose process is gone, as it would hold their lock."""
    for left in parent.glob(f"import-*/{_AT_WORK}"):
        with suppress(OSError), left.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent, ignore_errors=True)


def disk_error(error: OSError, where: Path) -> LimitError | WeightsError:
    """Our error for a failed write."""
    if error.errno in _FULL:
        return LimitError(f"The disk is full: cannot write '{where}'.", "Free some space and try again.")
    return WeightsError(f"Cannot write '{where}': {error.strerror or error}.", "Fix the folder's rights.")


def place(staged: Path, target: Path) -> None:
    """Move a finished file or folder to where it is loaded from, in one step, and make it last."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(staged, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def require_fits(found: CatalogEntry, path: Path) -> None:
    """Nothing when the files are of the entry's kind.

    Raises:
        WeightsError: another kind, or an embedder of another dimension.
    """
    if (found.kind == "gguf") != path.is_file():
        kind = "one GGUF file" if found.kind == "gguf" else "a folder with safetensors"
        raise WeightsError(f"{found.id!r} is {kind}, '{path}' is not.", "`alioth models list` shows the kinds.")
    if path.is_file():
        require_language_model(read_header(path))
    else:
        require_safe_folder(path)


# ---------------------------------------------------------------- steps of an import


def _check(source: Path) -> None:
    if source.is_dir():
        require_safe_folder(source)
    elif source.suffix.lower() == ".gguf":
        require_language_model(read_header(source))
    else:
        raise WeightsError(
            f"'{source}' is neither a .gguf file nor a folder with safetensors.",
            "Pickles (.bin, .pt, .pth) can run any program when they are loaded and are never taken.",
        )


def _known(source: Path, home: Path, model_id: str | None) -> CatalogEntry | None:
    entries = catalog(home)
    if model_id is not None:
        return entries.get(model_id)
    for one in entries.values():
        if not one.bundled and source.name in (location(one, home).name, one.hub_file):
            return one
    return None


def _files(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {path.name: path}
    return {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if file.is_file()}


def copied(files: Mapping[str, Path], folder: Path, progress: Progress | None = None) -> dict[str, str]:
    """Copies files to these names in a folder, down to the disk, and gives the sha256 of what was written."""
    total, done = sum(file.stat().st_size for file in files.values()), 0
    pins: dict[str, str] = {}
    for name, file in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with file.open("rb") as read, target.open("wb") as write:
            while block := read.read(_BLOCK):
                write.write(block)
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
            write.flush()
            os.fsync(write.fileno())
        pins[name] = digest.hexdigest()
    return pins


def _require_hash(source: Path, pins: Mapping[str, str], wanted: str) -> None:
    if wanted and wanted.lower() not in pins.values():
        actual = pins.get("model.safetensors") or next(iter(pins.values()))
        raise WeightsError(
            f"'{source}' has the sha256 {actual}, not {wanted.lower()} as you gave.",
            "It is another file or was damaged on the way. Nothing was taken over.",
        )


def _new_entry(staged: Path, name: str, home: Path, wanted: Wanted, pins: Mapping[str, str]) -> CatalogEntry:
    model_id = wanted.id or re.sub(r"[^a-z0-9._-]+", "-", name.lower().removesuffix(".gguf")).strip("-")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", model_id):
        raise InputError(
            f"{model_id!r} cannot be an id: a-z, 0-9, '.', '_' and '-' are possible, up to 80.", "Use --id."
        )
    if model_id in catalog(home):
        raise ConflictError(f"The catalogue has {model_id!r} already.", "Give another with --id.")
    facts = _gguf_facts(staged, wanted) if staged.is_file() else _folder_facts(staged, wanted)
    return CatalogEntry(id=model_id, source=f"home:{name}", languages=wanted.languages, licence=wanted.licence, **facts)


def _gguf_facts(file: Path, wanted: Wanted) -> dict[str, Any]:
    header = read_header(file)
    template = wanted.template or template_of(header.chat_template)
    if not template:
        raise WeightsError(
            f"'{file.name}' asks for a way to write prompts that Alioth does not know, or for none.",
            "Give it with --template chatml, llama3, gemma or glm4 if you are sure of it.",
        )
    thinks = "<think>" in header.chat_template and template == "chatml"
    return {
        "role": "llm",
        "kind": "gguf",
        "window": header.context,
        "size_bytes": header.size_bytes,
        "parameters": round(header.weights / 1e9, 3),
        "template": template,
        "small": header.weights < 2_000_000_000,
        "thinking": "an empty thinking part is put before each answer" if thinks else "",
        "answer_prefix": "<think>\n\n</think>\n\n" if thinks else "",
    }


def _folder_facts(folder: Path, wanted: Wanted) -> dict[str, Any]:
    config = _json(folder / "config.json")
    reranks = any(str(one).endswith("ForSequenceClassification") for one in config.get("architectures") or [])
    limits = [
        _json(folder / "sentence_bert_config.json").get("max_seq_length"),
        _json(folder / "tokenizer_config.json").get("model_max_length"),
        config.get("max_position_embeddings"),
    ]
    window = min((int(one) for one in limits if isinstance(one, int) and 0 < one < 1 << 24), default=0)
    dimension = _json(folder / "1_Pooling" / "config.json").get("word_embedding_dimension") or config.get("hidden_size")
    if not window or not isinstance(dimension, int):
        raise WeightsError(f"'{folder.name}' does not say its window or dimension.", "Is config.json there?")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts")
    own = prompts if isinstance(prompts, dict) else {}
    prefixes = {
        "query_prefix": wanted.query_prefix or _prompt(own, "query"),
        "document_prefix": wanted.document_prefix or _prompt(own, "document", "passage"),
    }
    return {
        "role": "reranker" if reranks else "embedder",
        "kind": "cross_encoder" if reranks else "sentence_transformers",
        "window": window,
        "dimension": 0 if reranks else dimension,
        "size_bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        **({} if reranks else prefixes),
    }


def _prompt(prompts: Mapping[str, Any], *names: str) -> str:
    """What the model's own files say goes before a text; a prefix is text, never a program."""
    texts = (prompts.get(name) for name in names)
    return next((text for text in texts if isinstance(text, str) and 0 < len(text) <= _LONGEST_PREFIX), "")


def _json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _entry_block(found: CatalogEntry) -> str:
    plain = CatalogEntry("", "llm", "gguf", "", (), 0, "")
    names = [name for name in CatalogEntry.__slots__ if name != "files"]
    values = {name: getattr(found, name) for name in names if getattr(found, name) != getattr(plain, name)}
    return toml_blocks.table("[[model]]", values | {"role": found.role, "kind": found.kind, "licence": found.licence})


def _remember(path: Path, home: Path) -> None:
    verified = VerifiedFiles(home)
    for file in _files(path).values():
        verified.sha256(file)


def _mb(size: int) -> int:
    return round(size / 1e6)
