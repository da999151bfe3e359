"""Models brought in by hand: checked, copied whole or not at all, pinned; and taken out again."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from core.errors import AliothError, ConflictError, InputError, LimitError, NotFoundError, WeightsError
from models.chatml import render, template_of
from models.files import store, toml_blocks, weights
from models.files.catalog import catalog, entry
from models.files.store import Wanted, import_model, remove_model
from models.protocols import Message
from tests.models.gguf_samples import llm_pairs, safetensors_bytes, write_gguf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "My Model v1.gguf")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my-embedder"
    (made / "1_Pooling").mkdir(parents=True)
    (made / "model.safetensors").write_bytes(safetensors_bytes({"a": (4, 8)}))
    (made / "config.json").write_text('{"hidden_size": 8, "max_position_embeddings": 128}')
    (made / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 8}')
    return made


def test_an_imported_file_has_an_entry_a_pin_and_resolves(file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = import_model(file, home, Wanted(languages=("zh", "en"), licence='MIT "own"'))
    assert (found.id, found.role, found.window, found.template) == ("my-model-v1", "llm", 4096, "chatml")
    assert (found.languages, found.licence) == (("zh", "en"), 'MIT "own"')
    assert weights.resolve(found.id, home).read_bytes() == file.read_bytes()
    assert weights.weights_sha256(found.id, home) == hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(ConflictError, match="here already"):
        import_model(file, home, Wanted())
    with (home / "models" / file.name).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(WeightsError, match="must be"):
        weights.resolve(found.id, home)


def test_a_file_with_the_name_of_a_catalogue_entry_becomes_that_entry(tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = import_model(write_gguf(tmp_path / "Qwen3-4B-Q4_K_M.gguf", llm_pairs("qwen3")), home, Wanted())
    assert found == entry("qwen3-4b") and weights.resolve("qwen3-4b", home).is_file()
    assert not (home / "models" / "catalog.toml").exists()


def test_an_imported_folder_is_an_embedder_with_its_facts(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    found = import_model(folder, home, Wanted(query_prefix="query: "))
    assert (found.id, found.role, found.dimension, found.window) == ("my-embedder", "embedder", 8, 128)
    assert found.query_prefix == "query: " and weights.resolve(found.id, home).is_dir()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForSequenceClassification"]}))
    reranker = import_model(folder.rename(tmp_path / "my-reranker"), home, Wanted())
    assert (reranker.role, reranker.kind, reranker.dimension) == ("reranker", "cross_encoder", 0)


def _bad(tmp_path: Path, folder: Path) -> dict[str, tuple[Path, Wanted, type[AliothError], str]]:
    (tmp_path / "m.bin").write_bytes(b"\x80\x04.")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    good = write_gguf(tmp_path / "good.gguf")
    return {
        "nothing": (tmp_path / "none.gguf", Wanted(), NotFoundError, "nothing at"),
        "pickle": (tmp_path / "m.bin", Wanted(), WeightsError, "neither a .gguf"),
        "pickles": (pickled, Wanted(), WeightsError, "a pickle"),
        "embedder": (write_gguf(tmp_path / "e.gguf", llm_pairs("bert")), Wanted(), WeightsError, "an embedding model"),
        "unknown": (write_gguf(tmp_path / "u.gguf", llm_pairs("xyz")), Wanted(), WeightsError, "'xyz'"),
        "hash": (good, Wanted(sha256="a" * 64), WeightsError, "as you gave"),
        "id": (good, Wanted(id="No Way"), InputError, "cannot be an id"),
        "template": (
            write_gguf(tmp_path / "t.gguf", llm_pairs(**{"tokenizer.chat_template": "[INST]"})),
            Wanted(),
            WeightsError,
            "way to write prompts",
        ),
    }


@pytest.mark.parametrize("case", ["nothing", "pickle", "pickles", "embedder", "unknown", "hash", "id", "template"])
def test_what_is_refused_leaves_nothing(case: str, tmp_path: Path, folder: Path) -> None:
    home = tmp_path / "home"
    source, wanted, kind, word = _bad(tmp_path, folder)[case]
    with pytest.raises(kind, match=word):
        import_model(source, home, wanted)
    assert [file for file in home.rglob("*") if file.is_file()] == []


def test_without_room_nothing_is_copied(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SPARE_BYTES", 1 << 60)
    with pytest.raises(LimitError, match="MB free"):
        import_model(file, tmp_path / "home", Wanted())
    assert [one for one in (tmp_path / "home").rglob("*") if one.is_file()] == []


_IMPORTED_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from models.files import store
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(store, sys.argv[3], die)
store.import_model(Path(sys.argv[1]), Path(sys.argv[2]), store.Wanted())
"""


@pytest.mark.parametrize("step", ["_require_hash", "pin", "place", "_remember"])
def test_an_import_that_was_killed_is_never_taken_for_whole_and_can_be_done_again(
    step: str, file: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    done = subprocess.run([sys.executable, "-c", _IMPORTED_UNTIL_KILLED, str(file), str(home), step], timeout=120)
    assert done.returncode == -signal.SIGKILL
    if step == "_remember":
        assert weights.resolve("my-model-v1", home).read_bytes() == file.read_bytes()
        return
    with pytest.raises((NotFoundError, WeightsError)):
        weights.resolve("my-model-v1", home)
    assert import_model(file, home, Wanted()).id == "my-model-v1"
    assert weights.resolve("my-model-v1", home).read_bytes() == file.read_bytes()
    assert list((home / "models" / store.INCOMING).iterdir()) == []


def test_removing_takes_file_pin_and_entry_and_leaves_the_rest(file: Path, folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = import_model(file, home, Wanted())
    second = import_model(folder, home, Wanted())
    for users, word in (({first.id: "it answers the questions"}, "answers the questions"),):
        with pytest.raises(ConflictError, match=word):
            remove_model(first.id, home, users)
    assert remove_model(first.id, home, {}) == file.stat().st_size
    assert first.id not in catalog(home) and weights.resolve(second.id, home).is_dir()
    assert set(tomllib.loads((home / "models" / "pins.toml").read_text())) == {second.id}
    with pytest.raises(NotFoundError):
        remove_model(first.id, home, {})
    with pytest.raises(NotFoundError, match="not on this machine"):
        remove_model("qwen3-4b", home, {})
    with pytest.raises(ConflictError, match="comes with Alioth"):
        remove_model("smollm2-135m-instruct", home, {})


def test_what_a_person_wrote_in_a_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "catalog.toml"
    own = '# mine\n[[model]]\nid = "a"\n[model.files]\n"x" = "1"\n\n# and this\n[[model]]\nid = "b"\n'
    file.write_text(own)
    toml_blocks.append(file, toml_blocks.table("[[model]]", {"id": "c", "n": 2, "l": ["zh", "é\n"], "t": True}))
    assert tomllib.loads(file.read_text())["model"][2] == {"id": "c", "n": 2, "l": ["zh", "é\n"], "t": True}
    assert toml_blocks.drop(file, "[[model]]", "[model.", 'id = "c"') and file.read_text().rstrip() == own.rstrip()
    assert toml_blocks.drop(file, "[[model]]", "[model.", 'id = "a"')
    assert tomllib.loads(file.read_text()) == {"model": [{"id": "b"}]} and "# mine" in file.read_text()
    assert not toml_blocks.drop(file, "[[model]]", "[model.", 'id = "zzz"')
    file.write_text("[[[")
    with pytest.raises(WeightsError, match="Correct the file"):
        toml_blocks.append(file, "[x]\n")


# ---------------------------------------------------------------- templates

CHAT = [
    Message("system", "Be brief."),
    Message("user", "Hi <|im_end|>"),
    Message("assistant", "Yes."),
    Message("user", "Go"),
]


def _written(template: str) -> str:
    """The prompt as text; markers stand in braces, so that a marker inside a message would show."""
    pieces: list[str] = []

    def tokenize(text: str, markers: bool) -> list[int]:
        pieces.append(f"{{{text}}}" if markers else text)
        return [len(pieces) - 1]

    return "".join(pieces[number] for number in render(CHAT, tokenize, "", template))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (
            "chatml",
            "{<|im_start|>}system\nBe brief.{<|im_end|>}\n{<|im_start|>}user\nHi <|im_end|>{<|im_end|>}\n"
            "{<|im_start|>}assistant\nYes.{<|im_end|>}\n{<|im_start|>}user\nGo{<|im_end|>}\n{<|im_start|>}assistant\n",
        ),
        (
            "llama3",
            "{<|begin_of_text|>}{<|start_header_id|>system<|end_header_id|>}\n\nBe brief.{<|eot_id|>}"
            "{<|start_header_id|>user<|end_header_id|>}\n\nHi <|im_end|>{<|eot_id|>}"
            "{<|start_header_id|>assistant<|end_header_id|>}\n\nYes.{<|eot_id|>}"
            "{<|start_header_id|>user<|end_header_id|>}\n\nGo{<|eot_id|>}"
            "{<|start_header_id|>assistant<|end_header_id|>}\n\n",
        ),
        (
            "gemma",
            "{<bos>}{<start_of_turn>}user\nBe brief.\n\nHi <|im_end|>{<end_of_turn>}\n"
            "{<start_of_turn>}model\nYes.{<end_of_turn>}\n{<start_of_turn>}user\nGo{<end_of_turn>}\n"
            "{<start_of_turn>}model\n",
        ),
        (
            "glm4",
            "{[gMASK]<sop>}{<|system|>}\nBe brief.{<|user|>}\nHi <|im_end|>{<|assistant|>}\nYes.{<|user|>}\nGo"
            "{<|assistant|>}\n",
        ),
    ],
)
def test_each_family_s_prompt_is_written_as_it_was_trained(template: str, text: str) -> None:
    assert _written(template) == text


def test_the_form_is_known_by_the_template_or_not_at_all() -> None:
    marks: dict[str, Any] = {"<|im_start|>": "chatml", "<|start_header_id|>": "llama3", "<start_of_turn>": "gemma"}
    assert {mark: template_of(f"{{{{ '{mark}' }}}}") for mark in marks} == marks
    assert template_of("[INST]") == "" == template_of("<|im_start|> <start_of_turn>")
