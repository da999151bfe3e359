"""The models page: for administrators only; what is here, what fits, what happened, and what may be removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from streamlit.testing.v1 import AppTest

from app.web.messages import say
from models.engine.load_note import LoadNote
from models.files.catalog import OWN
from models.serving.llm_record import LlmRecord

if TYPE_CHECKING:
    from conftest import World  # type: ignore[import-not-found]


OWN_MODEL = """[[model]]
id = "ours"
role = "llm"
kind = "gguf"
source = "home:ours.gguf"
languages = ["en"]
window = 2048
licence = "MIT"
"""


def words(at: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "header", "subheader", "badge", "error")
    parts = [str(getattr(one, "value", "")) for kind in kinds for one in at.get(kind)]
    whole = "\n".join(parts + [one.value.to_string() for one in at.dataframe])
    return whole.replace("\\", "")  # what stands before characters that Markdown knows


@pytest.fixture
def ours(world: World) -> Path:
    """A model of the administrator's own, damaged: its file is no GGUF."""
    home: Path = world.alioth.settings.home
    (home / "models").mkdir(parents=True, exist_ok=True)
    (home / OWN).write_text(OWN_MODEL)
    file = home / "models" / "ours.gguf"
    file.write_bytes(b"x" * 2_000_000)
    return file


def test_administrators_see_what_is_here_and_what_happened(world: World, ours: Path) -> None:
    LlmRecord(world.alioth.settings.home).note("ours", "It failed *twice*.")
    at = world.page(world.person("root", admin=True), "models")
    assert not at.exception
    shown = words(at)
    assert "smollm2-135m-instruct" in shown and "98 MB · Apache-2.0" in shown and "ours" in shown
    assert say("models.fits_no", "en") in shown and say("models.not_pinned", "en") in shown
    assert "qwen3-8b" in shown and "failed" in shown and say("models.not_running", "en") in shown


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_happened_is_told_in_the_language_of_the_page(world: World, language: str) -> None:
    root, record = world.person("root", admin=True), LlmRecord(world.alioth.settings.home)
    world.alioth.accounts.set_language(root.principal, language)
    for _ in range(2):
        record.failed("qwen3-4b", "llama.cpp says no.")
    assert record.choose("qwen3-4b") == "smollm2-135m-instruct"
    record.note("ours", LoadNote("Only 2 slots fit, not 4.", "slots", got=2, wanted=4))
    record.note("ours", LoadNote("Of a newer version.", "newer", got=2))
    record.note("ours", LoadNote("A value is missing.", "slots"))
    at = world.page(root, "models")
    assert not at.exception
    shown = words(at)
    replaced = say("loaded.replaced", language, wanted="qwen3-4b", times=2, model="smollm2-135m-instruct")
    assert replaced in shown and say("loaded.failed", language, why="llama.cpp says no.") in shown
    assert say("loaded.slots", language, got=2, wanted=4) in shown
    assert "Of a newer version." in shown and "A value is missing." in shown


def test_others_do_not_see_the_page(world: World, ours: Path) -> None:
    at = world.page(world.person("reader"), "models")
    assert not at.exception
    assert "98 MB" not in words(at) and not [one for one in at.button if one.key == "remove_ours"]


def test_a_model_goes_only_after_the_question_and_is_noted(world: World, ours: Path) -> None:
    at = world.page(world.person("root", admin=True), "models")
    assert not at.exception
    assert not [one for one in at.button if one.key == "remove_smollm2-135m-instruct"]
    at.button(key="remove_ours").click().run()
    assert ours.exists()
    at.button(key="confirm_remove").click().run()
    assert not ours.exists() and not at.exception
    assert any(row.action == "model.remove" for row in world.alioth.audit.entries())


def test_a_file_that_is_not_the_pinned_one_is_told_and_the_page_stays(world: World, ours: Path) -> None:
    at = world.page(world.person("root", admin=True), "models")
    assert not at.exception
    at.button(key="verify_ours").click().run()
    assert not at.exception and "pinned" in words(at)
