"""The compose files: what is published, what is shared, who may write where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.fixture(scope="module")
def gpu() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.gpu.yml").read_text()))


def test_only_the_page_is_published_and_on_loopback_by_default(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"web": ["${ALIOTH_BIND:-127.0.0.1}:${ALIOTH_PORT:-8501}:8501"]}


def test_only_the_page_leaves_the_inner_network(compose: dict[str, Any]) -> None:
    assert compose["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in compose["services"].items() if service["networks"] != ["inside"]}
    assert outside == {"web"}


def test_no_secret_stands_in_the_files(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert not any("TOKEN" in key or "PASSWORD" in key for key in service.get("environment", {}))


def test_only_migrate_may_write_the_secrets_and_chroma_never_sees_them(compose: dict[str, Any]) -> None:
    mounts = {name: service["volumes"] for name, service in compose["services"].items()}
    assert "secrets:/var/lib/alioth-secrets" in mounts["migrate"]
    for name in ("models", "worker", "web"):
        assert "secrets:/var/lib/alioth-secrets:ro" in mounts[name]
    assert mounts["chroma"] == ["chroma:/var/lib/alioth"]


def test_every_service_runs_one_image_without_privileges(compose: dict[str, Any]) -> None:
    services = compose["services"].values()
    assert len({service["image"] for service in services}) == 1
    assert sum("build" in service for service in services) == 1
    assert all(service["cap_drop"] == ["ALL"] for service in services)
    assert "USER alioth" in (ROOT / "Dockerfile").read_text()


def test_services_wait_for_the_migration_and_for_what_they_use(compose: dict[str, Any]) -> None:
    for name in ("worker", "web"):
        needs = {other: need["condition"] for other, need in compose["services"][name]["depends_on"].items()}
        assert needs == {
            "migrate": "service_completed_successfully",
            "chroma": "service_healthy",
            "models": "service_healthy",
        }


def test_the_card_belongs_to_the_models_service_alone(compose: dict[str, Any], gpu: dict[str, Any]) -> None:
    assert set(gpu["services"]) == set(compose["services"])
    assert {name for name, service in gpu["services"].items() if "deploy" in service} == {"models"}
    [device] = gpu["services"]["models"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia" and device["capabilities"] == ["gpu"]


def test_the_image_is_built_for_any_server_with_avx2_and_without_new_features() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "GGML_NATIVE=OFF" in dockerfile and "GGML_AVX2=ON" in dockerfile
    assert "--mount" not in dockerfile and "<<" not in dockerfile


def test_the_context_of_the_image_is_a_list_of_what_goes_in() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert not {"!.venv", "!tests", "!artifacts", "!.git"} & set(lines)
