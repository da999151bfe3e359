"""Settings of answers on the command line: who may set them, what is shown, and adapters that are in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.answering import offered_adapters, resolved, set_collection, set_conversation
from app.cli.generation import settings_of
from app.cli.root import app
from app.cli.state import State
from app.wiring import Alioth
from core.answer_settings import AnswerSettings
from core.errors import ConflictError, InputError, NotFoundError, PermissionDeniedError
from core.settings import ModelSettings, Settings
from core.types import SYSTEM, Fingerprint, Principal, Role
from models.fakes import FakeLanguageModel
from models.files.adapter_files import FOLDER, RECORD

ADAPTER = {"file": "house.gguf", "sha256": "0" * 64, "base": "smollm2-135m-instruct", "name": "house",
           "architecture": "llama", "rank": 4, "alpha": 4.0, "tensors": 60, "size_bytes": 10}  # fmt: skip


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Alioth]:
    made = Alioth(Settings(home=tmp_path / "data"))
    yield made
    made.close()


def people(parts: Alioth) -> tuple[Any, dict[str, Principal]]:
    """A collection, and who holds which role on it."""
    collection = parts.collections.create("HR", Fingerprint("test", "0" * 64, 8, True, "", "1"))
    found = {}
    for name in ("stranger", "reader", "writer", "owner"):
        user = parts.accounts_store.add_user(name, "x", False)
        found[name] = Principal(user.id, name)
    for name, role in (("reader", Role.READ), ("writer", Role.WRITE), ("owner", Role.MANAGE)):
        parts.accounts_store.grant(collection.id, "user", found[name].user_id, role)
    return collection, found


def with_adapter(home: Path) -> None:
    (home / FOLDER).mkdir(parents=True, exist_ok=True)
    (home / FOLDER / RECORD).write_text(json.dumps({"house": ADAPTER}), "utf-8")


def test_those_who_manage_a_collection_set_and_show_and_reset(
    run: Callable[..., str], parts: Alioth, tmp_path: Path
) -> None:
    people(parts)
    prompt = tmp_path / "tone.txt"
    prompt.write_text("请使用书面语。", "utf-8")
    run("--as", "owner", "collection", "settings", "HR", "--preset", "balanced", "--system-prompt", str(prompt))
    run("--as", "owner", "collection", "settings", "hr", "--seed", "7", "--stop", "END")
    shown = json.loads(run("--as", "owner", "collection", "settings", "HR", "--show", "--json"))
    assert shown["settings"] == {"preset": "balanced", "system_prompt": "请使用书面语。", "seed": 7, "stop": ["END"]}
    assert shown["resolved"]["origins"]["temperature"] == "collection" and shown["resolved"]["system_prompts"] == 1
    assert json.loads(run("collection", "settings", "HR", "--reset", "--json"))["settings"] == {}
    with pytest.raises(InputError, match="--show"):
        run("collection", "settings", "HR", "--show", "--seed", "1")
    with pytest.raises(InputError, match=r"temperature is .9\.0."):
        run("collection", "settings", "HR", "--temperature", "9")
    assert "collection.settings" in {row.action for row in parts.audit.entries()}


def test_others_neither_see_nor_change_them(run: Callable[..., str], parts: Alioth) -> None:
    collection, found = people(parts)
    set_collection(parts, found["owner"], collection.id, AnswerSettings(system_prompt="secret wish"))
    for name, kind in (
        ("stranger", NotFoundError),
        ("reader", PermissionDeniedError),
        ("writer", PermissionDeniedError),
    ):
        with pytest.raises(kind):
            run("--as", name, "collection", "settings", "HR", "--show")
        with pytest.raises(kind):
            set_collection(parts, found[name], collection.id, AnswerSettings(temperature=2.0))
    kept = parts.answer_settings.of_collections([collection.id])[collection.id]
    assert kept == AnswerSettings(system_prompt="secret wish")


def test_a_conversation_is_set_by_its_owner_alone_and_goes_before_the_collection(parts: Alioth) -> None:
    collection, found = people(parts)
    thread = parts.conversations.create(found["reader"].user_id, [collection.id])
    set_collection(parts, SYSTEM, collection.id, AnswerSettings(temperature=0.4, top_k=5))
    set_conversation(parts, found["reader"], thread.id, AnswerSettings(temperature=0.8))
    for name in ("stranger", "owner"):
        with pytest.raises(NotFoundError):
            set_conversation(parts, found[name], thread.id, AnswerSettings(temperature=2.0))
    chosen = resolved(parts, [collection], thread.id, AnswerSettings(seed=3))
    assert (chosen.values["temperature"], chosen.values["top_k"], chosen.values["seed"]) == (0.8, 5, 3)
    assert chosen.origins["max_tokens"] == "instance"


def test_with_another_engine_only_adapters_of_its_servers_can_be_chosen(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "data", models=ModelSettings(llm_urls="http://127.0.0.1:9/v1"))
    parts = Alioth(settings)
    parts.__dict__["llm"] = FakeLanguageModel(adapters=("legal",))  # in the place of the model behind those addresses
    try:
        collection, _ = people(parts)
        with_adapter(parts.settings.home)
        assert offered_adapters(parts) == {"legal": "fake-llm"}
        with pytest.raises(InputError, match="no adapter 'house'; here are: legal"):
            set_collection(parts, SYSTEM, collection.id, AnswerSettings(adapters=(("house", 1.0),)))
        set_collection(parts, SYSTEM, collection.id, AnswerSettings(adapters=(("legal", 0.5),)))
    finally:
        parts.close()


def test_only_adapters_that_are_here_can_be_chosen_and_those_in_use_stay(
    run: Callable[..., str], parts: Alioth
) -> None:
    people(parts)
    with pytest.raises(InputError, match="no adapter 'house'; here are: none"):
        run("collection", "settings", "HR", "--adapter", "house")
    with_adapter(parts.settings.home)
    run("collection", "settings", "HR", "--adapter", "house:0.5")
    [row] = json.loads(run("models", "adapters", "list", "--json"))
    assert row["id"] == "house" and "'HR'" in row["used"]
    with pytest.raises(ConflictError, match="'HR'"):
        run("models", "adapters", "remove", "house")
    with pytest.raises(PermissionDeniedError):
        run("--as", "owner", "models", "adapters", "remove", "house")
    with pytest.raises(PermissionDeniedError):
        run("--as", "owner", "models", "adapters", "import", "x.gguf")
    run("collection", "settings", "HR", "--reset")
    assert json.loads(run("models", "adapters", "remove", "house", "--json"))["id"] == "house"


def test_adapters_that_are_damaged_are_told_by_verify(run: Callable[..., str], parts: Alioth) -> None:
    with_adapter(parts.settings.home)
    done = CliRunner().invoke(app, ["models", "adapters", "verify", "--json"])
    State.close_all()
    assert done.exit_code == 1
    [row] = json.loads(done.stdout)
    assert not row["ok"] and "cannot be read" in row["error"]


def test_options_become_settings_and_wrong_ones_are_told(tmp_path: Path) -> None:
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object"}', "utf-8")
    made = settings_of(
        {
            "greedy": True,
            "top_k": 0,
            "seed": None,
            "stop": ["a", "b"],
            "adapter": ["house", "x:0.25"],
            "json_schema": schema,
        }
    )
    assert made == AnswerSettings(
        greedy=True, top_k=0, stop=("a", "b"), adapters=(("house", 1.0), ("x", 0.25)), json_schema='{"type": "object"}'
    )
    assert settings_of({"greedy": False}) == AnswerSettings()
    with pytest.raises(InputError, match="'x:much' is no adapter with a scale"):
        settings_of({"adapter": ["x:much"]})
    with pytest.raises(InputError, match="Cannot read"):
        settings_of({"json_schema": tmp_path / "none.json"})
