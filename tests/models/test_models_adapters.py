"""LoRA adapters: they change answers, leave no trace, and wrong ones are refused before anything is computed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import AliothError, ConflictError, InputError, NotFoundError, WeightsError
from models.engine.llama import LlamaCppModel
from models.engine.load_options import LoadOptions
from models.files import adapter_files, catalog, weights
from models.files.adapter_files import (
    FOLDER,
    RECORD,
    Adapter,
    adapter,
    adapters,
    import_adapter,
    remove_adapter,
    verify_adapter,
)
from models.protocols import GenerationSettings, Message
from tests.models.adapter_samples import write_adapter
from tests.models.gguf_samples import write_gguf

BASE = "smollm2-135m-instruct"
QUESTION = [Message("user", "Name three colours of a traffic light.")]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("adapters-home")
    for seed in (1, 2):
        import_adapter(write_adapter(made / f"Style {seed}.gguf", seed), made, BASE)
    return made


@pytest.fixture(scope="module")
def model(home: Path) -> Iterator[LlamaCppModel]:
    entry = catalog.entry(BASE)
    loaded = LlamaCppModel(weights.resolve(BASE, home), entry, LoadOptions(2, 1024), adapters=home / FOLDER)
    yield loaded
    loaded.close()


def answer(model: LlamaCppModel, *wanted: tuple[str, float]) -> str:
    settings = GenerationSettings(max_tokens=16, adapters=wanted)
    return "".join(delta.text for delta in model.stream(QUESTION, settings))


def test_an_import_is_pinned_listed_and_verified(home: Path) -> None:
    assert list(adapters(home / FOLDER)) == ["style-1", "style-2"]
    found = verify_adapter("style-1", home)
    assert (found.base, found.architecture, found.rank, found.alpha, found.tensors) == (BASE, "llama", 4, 4.0, 60)
    assert len(found.sha256) == 64 and found.size_bytes == (home / FOLDER / "style-1.gguf").stat().st_size
    assert found.sha256 != adapter("style-2", home / FOLDER).sha256


def test_answers_change_with_an_adapter_and_return_exactly_without_it(model: LlamaCppModel) -> None:
    bare = answer(model)
    first, second = answer(model, ("style-1", 1.0)), answer(model, ("style-2", 1.0))
    assert len({bare, first, second}) == 3
    assert answer(model) == bare
    assert answer(model, ("style-1", 1.0)) not in (bare, second)
    assert answer(model, ("style-1", 0.0)) == bare
    assert answer(model, ("style-1", 1.0), ("style-2", 1.0)) != bare
    assert answer(model) == bare


@pytest.mark.parametrize(
    ("wanted", "kind", "said"),
    [
        ((("nope", 1.0),), NotFoundError, "'nope'.*'style-1'"),
        ((("style-1", 2.5),), InputError, "from 0 to 2"),
        ((("style-1", float("nan")),), InputError, "from 0 to 2"),
        ((("style-1", 1.0), ("style-1", 1.0)), InputError, "different"),
    ],
)
def test_a_request_for_what_cannot_be_is_refused_at_once_and_others_go_on(
    model: LlamaCppModel, wanted: Any, kind: type[AliothError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        model.stream(QUESTION, GenerationSettings(max_tokens=4, adapters=wanted))
    assert answer(model)


def test_an_adapter_of_another_base_or_with_other_bytes_is_refused_and_the_model_stays(
    model: LlamaCppModel, home: Path
) -> None:
    import_adapter(write_adapter(home / "late.gguf", 7), home, BASE, "late")
    record = home / FOLDER / RECORD
    rows = json.loads(record.read_text("utf-8"))
    rows["late"]["base"] = "another-model"
    record.write_text(json.dumps(rows), "utf-8")
    with pytest.raises(WeightsError, match="made for 'another-model', but 'smollm2"):
        answer(model, ("late", 1.0))
    rows["late"]["base"] = BASE
    record.write_text(json.dumps(rows), "utf-8")
    file = home / FOLDER / "late.gguf"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(WeightsError, match="not the file that was pinned"):
        answer(model, ("late", 1.0))
    file.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        answer(model, ("late", 1.0))
    assert answer(model)
    assert remove_adapter("late", home, {}) > 0


def cut(path: Path) -> Path:
    whole = write_adapter(path)
    whole.write_bytes(whole.read_bytes()[:-5000])
    return whole


def text_file(path: Path) -> Path:
    path.write_text("no model", "utf-8")
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (cut, "bytes are missing"),
        (text_file, "not a GGUF file"),
        (write_gguf, "no LoRA adapter"),
        (lambda path: write_adapter(path, kind="model"), "general.type is 'model'"),
        (lambda path: write_adapter(path, adapter_type="other"), "adapter.type 'other'"),
        (lambda path: write_adapter(path, adapter_type=""), "adapter.type 'None'"),
        (lambda path: write_adapter(path, alora=True), "activated LoRA"),
        (lambda path: write_adapter(path, architecture="qwen2"), "architecture 'qwen2'.*'llama'"),
        (lambda path: write_adapter(path, shapes={"attn_q": (960, 960)}), r"960.*is \(576, 576\)"),
        (lambda path: write_adapter(path, shapes={"attn_x": (576, 576)}), "does not have"),
        (lambda path: write_adapter(path, half=True), "only one half"),
        (lambda path: write_adapter(path, poison=True), "not finite"),
        (lambda path: write_adapter(path, alpha=float("nan")), "adapter.lora.alpha"),
    ],
)
def test_a_file_that_is_no_adapter_for_the_base_is_refused_and_leaves_nothing(
    make: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    file = make(tmp_path / "one.gguf")
    with pytest.raises(WeightsError, match=said):
        import_adapter(file, tmp_path, BASE)
    assert adapters(tmp_path / FOLDER) == {}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != file]


def test_names_hashes_and_bases_are_checked_before_a_file_is_taken(tmp_path: Path, home: Path) -> None:
    file = write_adapter(tmp_path / "x.gguf")
    with pytest.raises(WeightsError, match="as you gave"):
        import_adapter(file, tmp_path, BASE, sha256="0" * 64)
    with pytest.raises(InputError, match="cannot be an id"):
        import_adapter(file, tmp_path, BASE, "../x")
    with pytest.raises(ConflictError, match="already"):
        import_adapter(file, home, BASE, "style-1")
    with pytest.raises(NotFoundError, match="no file"):
        import_adapter(tmp_path / "none.gguf", tmp_path, BASE)
    with pytest.raises(InputError, match="no language model"):
        import_adapter(file, tmp_path, "all-minilm-l6-v2")
    assert adapters(tmp_path / FOLDER) == {}


def test_an_adapter_in_use_stays_and_a_removed_one_is_gone(home: Path) -> None:
    made: Adapter = import_adapter(write_adapter(home / "g.gguf", 9), home, BASE, "going")
    with pytest.raises(ConflictError, match="asks for it"):
        remove_adapter("going", home, {"going": "the collection 'hr' asks for it"})
    assert remove_adapter("going", home, {}) == made.size_bytes
    with pytest.raises(NotFoundError, match="'going'"):
        verify_adapter("going", home)
    assert not (home / FOLDER / "going.gguf").exists()


_BRING_AND_TAKE = """
import sys
from pathlib import Path
from models.files.adapter_files import import_adapter, remove_adapter
home, name = Path(sys.argv[1]), sys.argv[2]
for number in range(3):
    import_adapter(home / "one.gguf", home, "smollm2-135m-instruct", f"{name}-{number}")
remove_adapter(f"{name}-0", home, {})
"""


def test_processes_that_bring_in_and_take_out_adapters_at_once_lose_none(tmp_path: Path) -> None:
    write_adapter(tmp_path / "one.gguf", 3, rank=1)
    names = ("a", "b", "c")
    command = [sys.executable, "-c", _BRING_AND_TAKE, str(tmp_path)]
    processes = [subprocess.Popen([*command, name], stderr=subprocess.PIPE, text=True) for name in names]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert list(adapters(tmp_path / FOLDER)) == [f"{name}-{number}" for name in names for number in (1, 2)]
    for name in adapters(tmp_path / FOLDER):
        assert verify_adapter(name, tmp_path)


def test_an_id_that_another_process_took_in_the_meantime_stays_the_other_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write_adapter(tmp_path / f"{seed}.gguf", seed, rank=1) for seed in (1, 2))
    check, taken = adapter_files.require_finite, []

    def slow(file: Path) -> None:
        if not taken:  # while the first is still being read
            taken.append(True)
            import_adapter(second, tmp_path, BASE, "house")
        check(file)

    monkeypatch.setattr(adapter_files, "require_finite", slow)
    with pytest.raises(ConflictError, match="already"):
        import_adapter(first, tmp_path, BASE, "house")
    assert (tmp_path / FOLDER / "house.gguf").read_bytes() == second.read_bytes()
    assert verify_adapter("house", tmp_path)


def test_a_damaged_record_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / FOLDER / RECORD).write_text("{", "utf-8")
    with pytest.raises(WeightsError, match=r"adapters\.json"):
        adapters(tmp_path / FOLDER)
