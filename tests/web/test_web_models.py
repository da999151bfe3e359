"""The models page: for administrators only; what is here, what fits, what happened, and what may be removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.web.messages import say
from models.catalog import OWN
from models.llm_record import LlmRecord

if TYPE_CHECKING:
    from conftest import Person, World  # type: ignore[import-not-found]

SCRIPT = Path(__file__).parents[2] / "app" / "web" / "main.py"

OWN_MODEL = """[[model]]
id = "ours"
role = "llm"
kind = "gguf"
source = "home:ours.gguf"
languages = ["en"]
window = 2048
licence = "MIT"
"""


def models_page(person: Person) -> AppTest:
    at = AppTest.from_file(str(SCRIPT), default_timeout=60)
    at.user = dict(person.st_user)
    at.run()
    at._page_hash = calc_hash("models")
    at.run()
    assert not at.exception
    return at


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
    shown = words(models_page(world.person("root", admin=True)))
    assert "smollm2-135m-instruct" in shown and "98 MB · Apache-2.0" in shown and "ours" in shown
    assert say("models.fits_no", "en") in shown and say("models.not_pinned", "en") in shown
    assert "qwen3-8b" in shown and "failed" in shown and say("models.not_running", "en") in shown


def test_others_do_not_see_the_page(world: World, ours: Path) -> None:
    at = models_page(world.person("reader"))
    assert "98 MB" not in words(at) and not [one for one in at.button if one.key == "remove_ours"]


def test_a_model_goes_only_after_the_question_and_is_noted(world: World, ours: Path) -> None:
    at = models_page(world.person("root", admin=True))
    assert not [one for one in at.button if one.key == "remove_smollm2-135m-instruct"]
    at.button(key="remove_ours").click().run()
    assert ours.exists()
    at.button(key="confirm_remove").click().run()
    assert not ours.exists() and not at.exception
    assert any(row.action == "model.remove" for row in world.alioth.audit.entries())


def test_a_file_that_is_not_the_pinned_one_is_told_and_the_page_stays(world: World, ours: Path) -> None:
    at = models_page(world.person("root", admin=True))
    at.button(key="verify_ours").click().run()
    assert not at.exception and "pinned" in words(at)
