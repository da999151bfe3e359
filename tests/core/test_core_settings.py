"""Settings: defaults, rules, and messages that name the variable."""

from __future__ import annotations

import pytest

from core.errors import SettingsError
from core.settings import Settings, load_settings, variable_names


def test_every_setting_has_a_description() -> None:
    assert all(variable_names().values())


def test_there_are_few_settings() -> None:
    assert len(variable_names()) < 80


def test_environment_variables_reach_their_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIOTH_WEB__PORT", "9000")
    assert load_settings().web.port == 9000


def test_one_variable_of_a_group_keeps_the_other_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIOTH_INGEST__CHUNK_TOKENS", "128")
    assert load_settings().ingest.max_file_mb == Settings.model_fields["ingest"].default.max_file_mb


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ALIOTH_WEB__PORT", "99999", ["ALIOTH_WEB__PORT", "99999", "65535"]),
        ("ALIOTH_WEB__PROT", "8501", ["ALIOTH_WEB__PROT", "ALIOTH_WEB__PORT"]),
        ("ALIOTH_INGEST__CHUNK_OVERLAP", "150", ["CHUNK_OVERLAP", "150", "200"]),
        ("ALIOTH_LOG__LEVEL", "LOUD", ["ALIOTH_LOG__LEVEL", "LOUD"]),
    ],
)
def test_a_bad_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_secrets_do_not_show_in_a_printed_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIOTH_MODELS__TOKEN", "very-secret-token")
    assert "very-secret-token" not in repr(load_settings())
