"""Gets a model of the catalogue from a model hub or its mirror: the only place that downloads, and only when asked to.

`huggingface_hub` gives the hub's record and the transfer; where bytes land, and that they are what the record says, is
ours: its own download into a folder starts again from nothing after a crash.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, Final

import filelock

from core.errors import AliothError, ConflictError, InputError, ModelError, NotFoundError, WeightsError
from models.files.catalog import CatalogEntry, entry, location
from models.files.safetensors_read import SAFE_SUFFIXES
from models.files.store import INCOMING, disk_error, pin, place, require_fits, require_room
from models.files.weights import VerifiedFiles, pins_of

_OTHER_RUNTIMES: Final = frozenset({"onnx", "openvino", "imgs", "images", "assets"})
_RECORD_TIMEOUT_S: Final = 30.0
_MOST_FILES: Final = 100
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file by the hub's record: sha256 of large files, git's own sha1 of small ones."""

    name: str
    size_bytes: int
    sha256: str
    git_sha1: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull brought. revision: commit of the repository. resumed_bytes: were here from an earlier try."""

    id: str
    path: Path
    revision: str
    size_bytes: int
    resumed_bytes: int
    sha256: Mapping[str, str]


def pull(model_id: str, home: Path, endpoint: str = "", *, show_progress: bool = False) -> Pulled:
    """Download a model, check every byte against the hub's record, and pin it. Goes on where an earlier try stopped.

    Args:
        endpoint: address of a mirror; empty is the hub itself.
        show_progress: with a bar on stderr.

    Raises:
        NotFoundError: no such id, repository or file. ConflictError: it is here, bundled, or pulled by another.
        LimitError: no room on the disk. WeightsError: a file is not what the record or an earlier pin says.
        ModelError: the hub does not answer, or refuses.
    """
    found = entry(model_id, home)
    target = location(found, home)
    _require_pullable(found, target)
    folder = home / "models" / INCOMING / found.id
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent / f"{found.id}.lock", found.id), _online(endpoint) as hub:
        revision, record = _record(hub, found, endpoint)
        files = _chosen(found, record)
        _require_pins(pins_of(found, home), files, found)
        resumed = sum(_partial(folder, file).stat().st_size for file in files if _partial(folder, file).exists())
        require_room(home, sum(file.size_bytes for file in files) - resumed)
        pins = {}
        for file in files:
            url = hub.hf_hub_url(found.repository, file.name, revision=revision, endpoint=endpoint or None)
            sha256 = _fetch(url, _partial(folder, file), file, show_progress)
            pins[target.name if found.kind == "gguf" else file.name] = sha256
        _take_over(found, files, folder, home, pins)
    verified = VerifiedFiles(home)
    for name in pins:
        verified.sha256(target if target.is_file() else target / name)
    return Pulled(found.id, target, revision, sum(file.size_bytes for file in files), resumed, pins)


def _require_pullable(found: CatalogEntry, target: Path) -> None:
    if found.bundled:
        raise ConflictError(f"{found.id!r} comes with Alioth; there is nothing to get.")
    if not found.repository:
        raise InputError(f"The catalogue names no repository for {found.id!r}.", "Use `alioth models import`.")
    if target.exists():
        raise ConflictError(
            f"{found.id!r} is here already: '{target}'.", "`alioth models verify` checks it, `remove` takes it out."
        )


@contextlib.contextmanager
def _alone(lock: Path, model_id: str) -> Iterator[None]:
    try:
        with filelock.FileLock(lock, timeout=0):
            yield
    except filelock.Timeout:
        raise ConflictError(f"{model_id!r} is being pulled by another process.", "Wait until it is done.") from None


@contextlib.contextmanager
def _online(endpoint: str) -> Iterator[ModuleType]:
    """The library, allowed to connect for as long as this takes; its errors become ours."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["HF_HUB_DISABLE_XET"] = "1"  # mirrors have plain HTTP, and only that resumes
    import httpx2
    import huggingface_hub
    from huggingface_hub import constants, errors

    before = constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY
    # loading an embedder forbids all connections to this library; this one was asked for by name
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY = False, True
    where = endpoint or constants.ENDPOINT
    try:
        yield huggingface_hub
    except errors.GatedRepoError as error:
        raise ModelError(
            f"The hub '{where}' gives this model only to people who accepted its licence.",
            "Get the file in a browser, then use `alioth models import`.",
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise NotFoundError(f"The hub '{where}' has no such repository or file.", "Is the mirror complete?") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "?"
        if status == 404:
            raise NotFoundError(f"The hub '{where}' has no such repository or file.", "Is it complete?") from error
        raise ModelError(f"The hub '{where}' refused with status {status}.", "Try again later.") from error
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise ModelError(
            f"The hub '{where}' does not answer ({type(error).__name__}).",
            "Set ALIOTH_MODELS__ENDPOINT to a mirror that this machine can reach, or use `alioth models import`. What "
            "came so far is kept; the next pull goes on there.",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"The hub '{where}' gave an answer that cannot be read ({str(error)[:200]}).", "Is it a model hub?"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY = before


def _record(hub: ModuleType, found: CatalogEntry, endpoint: str) -> tuple[str, list[HubFile]]:
    api = hub.HfApi(endpoint=endpoint or None, token=False)
    info = api.model_info(found.repository, files_metadata=True, timeout=_RECORD_TIMEOUT_S)
    files = [
        HubFile(one.rfilename, int(one.size or 0), one.lfs.sha256 if one.lfs else "", one.blob_id or "")
        for one in info.siblings or []
    ]
    for file in files:
        path = PurePosixPath(file.name)
        if path.is_absolute() or ".." in path.parts or "\\" in file.name or not file.name:
            raise WeightsError(f"The hub names a file {file.name!r}, which would lie outside.", "Do not use this hub.")
    return str(info.sha), files


def _chosen(found: CatalogEntry, record: Sequence[HubFile]) -> list[HubFile]:
    if found.kind == "gguf":
        files = [one for one in record if one.name.lower() == found.hub_file.lower()]
        if not files:
            have = ", ".join(one.name for one in record if one.name.endswith(".gguf")) or "none"
            raise NotFoundError(
                f"{found.repository!r} has no file {found.hub_file!r}; its GGUF files are: {have[:600]}.",
                "Get one of them by hand and use `alioth models import`.",
            )
    else:
        files = [one for one in record if _belongs(one.name)]
        if not any(one.name.endswith(".safetensors") for one in files):
            raise WeightsError(
                f"{found.repository!r} has no safetensors, only other kinds of weights, which are never loaded.",
                "Convert it on a machine of your own, then use `alioth models import`.",
            )
    for one in files:
        if not one.size_bytes or not (one.sha256 or one.git_sha1) or len(files) > _MOST_FILES:
            raise WeightsError(f"The hub's record of {one.name!r} has no size or hash.", "Use another mirror.")
    return files


def _belongs(name: str) -> bool:
    path = PurePosixPath(name)
    usual = path.suffix in SAFE_SUFFIXES and path.parts[0] not in _OTHER_RUNTIMES
    return usual and len(path.parts) <= 2 and path.name != "adapter_config.json"


def _require_pins(pins: Mapping[str, str], files: Sequence[HubFile], found: CatalogEntry) -> None:
    for file in files:
        wanted = pins.get(location(found, Path()).name if found.kind == "gguf" else file.name)
        if wanted and file.sha256 and wanted != file.sha256:
            raise WeightsError(
                f"The hub has another {file.name!r} (sha256 {file.sha256}) than {found.id!r} was pinned to ({wanted}).",
                "If you trust the new one: `alioth models remove`, then pull again.",
            )


def _partial(folder: Path, file: HubFile) -> Path:
    # named by content: a file that changed on the hub never goes on from the bytes of another
    return folder / f"{(file.sha256 or file.git_sha1)[:40]}.partial"


def _fetch(url: str, partial: Path, file: HubFile, show_progress: bool) -> str:
    """Downloads what is missing of a file and gives its sha256, which is what the record says."""
    try:
        _transfer(url, partial, file, show_progress)
    except OSError as error:
        if isinstance(error, ConnectionError) or error.errno is None:
            raise
        ours = disk_error(error, partial)
        partial.unlink(missing_ok=True)  # a full disk would stop the databases too
        raise ours from error
    sha256, sha1 = _hashes(partial, file.size_bytes)
    if sha256 != file.sha256 if file.sha256 else sha1 != file.git_sha1:
        size = partial.stat().st_size
        partial.unlink()
        raise WeightsError(
            f"What came for {file.name!r} is not what the hub's record says: {size} bytes with sha256 {sha256}, "
            f"must be {file.size_bytes} bytes with {file.sha256 or 'git sha1 ' + file.git_sha1}.",
            "It was damaged or replaced on the way, and was removed. Try again, or use another mirror.",
        )
    return sha256


def _transfer(url: str, partial: Path, file: HubFile, show_progress: bool) -> None:
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    here = partial.stat().st_size if partial.exists() else 0
    if here > file.size_bytes:
        partial.unlink()
        here = 0
    with partial.open("r+b" if here else "wb") as stream:
        stream.seek(here)
        with contextlib.suppress(_WrongSizeError), _sizes_told():
            http_get(
                url,
                stream,
                resume_size=here,
                headers={**build_hf_headers(token=False), "Accept-Encoding": "identity"},
                expected_size=file.size_bytes,
                displayed_filename=PurePosixPath(file.name).name,
                tqdm_class=None if show_progress else _silent(),
            )
        stream.flush()
        os.fsync(stream.fileno())


class _WrongSizeError(Exception):
    """More or fewer bytes came than announced; the hashes tell it to the person."""


@contextlib.contextmanager
def _sizes_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # the library has no class for this one
        if error.errno is None and "Consistency check failed" in str(error):
            raise _WrongSizeError from error
        raise


def _silent() -> type[Any]:
    from huggingface_hub.utils.tqdm import silent_tqdm

    return silent_tqdm


def _hashes(path: Path, size: int) -> tuple[str, str]:
    """sha256, and the sha1 that git gives a file of that many bytes."""
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            sha256.update(block)
            sha1.update(block)
    return sha256.hexdigest(), sha1.hexdigest()


def _take_over(
    found: CatalogEntry, files: Sequence[HubFile], folder: Path, home: Path, pins: Mapping[str, str]
) -> None:
    """Checks the finished files as a model and pins them, then moves them to their place in one step."""
    target = location(found, home)
    staged = folder / target.name
    try:
        for file in files:
            whole = staged if found.kind == "gguf" else staged / file.name
            whole.parent.mkdir(parents=True, exist_ok=True)
            os.replace(_partial(folder, file), whole)
        require_fits(found, staged)
        pin(found, pins, home)  # first: a file in place without a pin could neither be used nor pulled again
        place(staged, target)
    except OSError as error:
        raise disk_error(error, target) from error
    except AliothError:
        shutil.rmtree(staged, ignore_errors=True)
        staged.unlink(missing_ok=True) if staged.is_file() else None
        raise
    shutil.rmtree(folder, ignore_errors=True)
