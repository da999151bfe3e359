"""Addresses of other servers: what is taken, what is refused, and what lies inside the house."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from core.addresses import reach, server_urls
from core.errors import SettingsError
from core.settings import load_settings


def test_addresses_are_separated_by_commas_and_get_the_usual_path() -> None:
    assert server_urls(" http://a:8080/v1/, https://b ,http://10.0.0.5/x/v1 ") == (
        "http://a:8080/v1",
        "https://b/v1",
        "http://10.0.0.5/x/v1",
    )
    assert server_urls("") == () == server_urls(" , ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:8080", "no address of a server"),
        ("ftp://a/v1", "no address of a server"),
        ("http:///v1", "no address of a server"),
        ("http://a:99999/v1", "no address"),
        ("http://[::1/v1", "no address"),
        ("http://a/v1?x=1", "must end with the path"),
        ("http://a/v1#x", "must end with the path"),
        ("http://a/v1,http://a/v1/", "there twice"),
        ("http://8.8.8.8/v1", "plain HTTP"),
        ("http://[2001:4860:4860::8888]/v1", "plain HTTP"),
    ],
)
def test_an_address_that_breaks_a_rule_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        server_urls(text)


@pytest.mark.parametrize("text", ["http://ann:secret@a/v1", "ann:secret@a", "http://a:1,https://x:secret@b:zz/v1"])
def test_a_password_in_an_address_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ALIOTH_MODELS__LLM_URLS", text)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert "secret" not in str(raised.value) and "ALIOTH_MODELS__LLM_URLS" in str(raised.value)


@pytest.mark.parametrize(
    ("ips", "where"),
    [
        (["127.0.0.1", "::1"], "this machine"),
        (["10.1.2.3"], "inside"),
        (["100.64.0.1", "fe80::1%eth0"], "inside"),
        (["192.168.1.1", "93.184.216.34"], "outside"),
        (["2606:2800:220:1:248:1893:25c8:1946"], "outside"),
    ],
)
def test_where_an_address_leads_is_told_by_its_farthest_ip(
    monkeypatch: pytest.MonkeyPatch, ips: list[str], where: str
) -> None:
    rows: list[Any] = [(0, 0, 0, "", (ip, 0)) for ip in ips]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows)
    assert reach("http://llm.example.com:8080/v1") == where


def test_a_name_that_cannot_be_looked_up_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> Any:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    assert reach("http://llm.example.com/v1") == "unknown"


def test_models_of_other_servers_are_named_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for role, name in (("LLM", "qwen3-8b"), ("EMBEDDER", "bge-m3"), ("RERANKER", "")):
        monkeypatch.setenv(f"ALIOTH_MODELS__{role}_URLS", "http://a")
        monkeypatch.setenv(f"ALIOTH_MODELS__{role}_NAME", name)
    models = load_settings().models
    assert (models.llm, models.embedder, models.reranker) == ("remote:qwen3-8b", "remote:bge-m3", "remote")


def test_an_embedder_on_another_server_needs_its_name_and_no_key_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALIOTH_MODELS__EMBEDDER_URLS", "http://a")
    monkeypatch.setenv("ALIOTH_MODELS__LLM_KEY", "sk-very-secret")
    with pytest.raises(SettingsError, match="ALIOTH_MODELS__EMBEDDER_NAME") as raised:
        load_settings()
    assert "sk-very-secret" not in str(raised.value)


@pytest.mark.parametrize("value", ["[1]", "{", "text"])
def test_further_fields_must_be_a_json_object(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ALIOTH_MODELS__LLM_EXTRA", value)
    with pytest.raises(SettingsError, match="ALIOTH_MODELS__LLM_EXTRA"):
        load_settings()
