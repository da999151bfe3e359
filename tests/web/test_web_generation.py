"""The panels of answer settings: who sees them, what they keep, and what they refuse."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.answer_settings import AnswerSettings
from core.types import Role
from models.files.adapter_files import FOLDER, RECORD
from tests.web.conftest import World


def has_button(at: AppTest) -> bool:
    return any(button.key == "open_generation" for button in at.button)


@pytest.mark.parametrize(("role", "seen"), [(Role.READ, False), (Role.WRITE, False), (Role.MANAGE, True)])
def test_only_those_who_manage_a_collection_see_its_panel(world: World, role: Role, seen: bool) -> None:
    ann = world.person("ann")
    world.collection("plans", ann, role=role)
    assert has_button(world.page(ann, "library")) is seen


def test_an_owner_chooses_a_preset_and_a_tone_for_a_collection(world: World) -> None:
    ann = world.person("ann")
    collection = world.collection("plans", ann, role=Role.MANAGE)
    at = world.page(ann, "library")
    at.button(key="open_generation").click().run()
    key = f"generation_{collection.id}"
    at.button_group(key=f"{key}_preset").set_value("creative").run()
    at.text_area(key=f"{key}_prompt").set_value("Be formal.").run()
    at.number_input(key=f"{key}_top_k").set_value(7).run()
    at.button(key=f"save_{collection.id}").click().run()
    assert not at.exception
    kept = world.alioth.answer_settings.of_collections([collection.id])[collection.id]
    assert kept == AnswerSettings(preset="creative", top_k=7, system_prompt="Be formal.")


def test_a_conversation_keeps_its_own_settings_and_an_adapter(world: World) -> None:
    ann = world.person("ann")
    collection = world.collection("plans", ann)
    message = world.answered(ann, collection, "It is so.")
    folder = world.alioth.settings.home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    row = {"file": "h.gguf", "sha256": "0" * 64, "base": "m", "name": "h", "architecture": "llama", "rank": 1,
           "alpha": 1.0, "tensors": 1, "size_bytes": 1}  # fmt: skip
    (folder / RECORD).write_text(json.dumps({"house": row}), "utf-8")
    try:
        at = world.page(ann, c=message.conversation_id)
        at.button(key="open_generation").click().run()
        key = f"generation_{message.conversation_id}"
        at.multiselect(key=f"{key}_adapters").select("house").run()
        at.slider(key=f"{key}_scale_house").set_value(0.5).run()
        at.button(key=f"save_{message.conversation_id}").click().run()
        assert not at.exception
        kept = world.alioth.answer_settings.of_conversation(message.conversation_id)
        assert kept == AnswerSettings(adapters=(("house", 0.5),))
        at.button(key="open_generation").click().run()
        at.button(key=f"reset_{message.conversation_id}").click().run()
        assert world.alioth.answer_settings.of_conversation(message.conversation_id) == AnswerSettings()
    finally:
        (folder / RECORD).unlink()
