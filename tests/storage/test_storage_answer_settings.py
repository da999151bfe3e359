"""Settings of answers in the database: kept, replaced, taken out, gone with what they belong to."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from core.answer_settings import AnswerSettings
from core.errors import InputError, NotFoundError
from storage.answer_settings import AnswerSettingsStore
from storage.conversations import ConversationStore
from storage.database import Database
from storage.tables import CollectionAnswerTable

SETTINGS = AnswerSettings(
    preset="balanced", top_k=3, stop=("。",), system_prompt="请用书面语", adapters=(("house", 0.5),), seed=4294967294
)


@pytest.fixture
def store(db: Database) -> AnswerSettingsStore:
    return AnswerSettingsStore(db)


def test_settings_of_a_collection_come_back_and_empty_ones_remove_them(store: AnswerSettingsStore, bench) -> None:  # type: ignore[no-untyped-def]
    key = bench.collection.id
    assert store.of_collections([key]) == {}
    store.put_collection(key, SETTINGS)
    assert store.of_collections([key, "other"]) == {key: SETTINGS}
    store.put_collection(key, AnswerSettings(seed=1))
    assert store.of_collections([key])[key] == AnswerSettings(seed=1)
    store.put_collection(key, AnswerSettings())
    assert store.of_collections([key]) == {}
    with pytest.raises(NotFoundError, match="'nope'"):
        store.put_collection("nope", SETTINGS)


def test_only_its_owner_changes_a_conversations_settings(store: AnswerSettingsStore, db: Database) -> None:
    thread = ConversationStore(db).create("anna", [])
    assert store.of_conversation(thread.id) == AnswerSettings()
    store.put_conversation(thread.id, "anna", SETTINGS)
    for user in ("bert", "", "system"):
        with pytest.raises(NotFoundError):
            store.put_conversation(thread.id, user, AnswerSettings(temperature=2.0))
    assert store.of_conversation(thread.id) == SETTINGS
    with pytest.raises(NotFoundError):
        store.put_conversation("nope", "anna", SETTINGS)


def test_they_go_with_their_collection_and_conversation(store: AnswerSettingsStore, db: Database, bench) -> None:  # type: ignore[no-untyped-def]
    conversations = ConversationStore(db)
    thread = conversations.create("anna", [])
    store.put_conversation(thread.id, "anna", SETTINGS)
    store.put_collection(bench.collection.id, SETTINGS)
    assert set(store.adapters_in_use()) == {"house"}
    conversations.delete(thread.id, "anna")
    bench.collections.delete(bench.collection.id)
    assert store.of_conversation(thread.id) == AnswerSettings()
    assert store.of_collections([bench.collection.id]) == {} and store.adapters_in_use() == {}


def test_a_schema_belongs_to_a_request(store: AnswerSettingsStore, db: Database, bench) -> None:  # type: ignore[no-untyped-def]
    schema = AnswerSettings(json_schema='{"type":"object"}')
    thread = ConversationStore(db).create("anna", [])
    with pytest.raises(InputError, match="one question"):
        store.put_collection(bench.collection.id, schema)
    with pytest.raises(InputError, match="one question"):
        store.put_conversation(thread.id, "anna", schema)


def test_a_row_that_another_version_wrote_does_not_stop_answers(
    store: AnswerSettingsStore, db: Database, bench
) -> None:  # type: ignore[no-untyped-def]
    key = bench.collection.id
    store.put_collection(key, SETTINGS)
    with db.write() as session:
        session.execute(update(CollectionAnswerTable).values(settings={"warmth": 3}))
    assert store.of_collections([key]) == {key: AnswerSettings()}
