"""What the files at the top promise to each other."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = ("core", "models", "storage", "auth", "ingest", "chat", "evals", "app")
OURS = (".py", ".md", ".toml", ".txt", ".yml", ".sh", ".jsonl", ".css", ".html")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def project_files() -> list[Path]:
    found = [
        path for package in (*PACKAGES, "scripts", "bench", "docs", "tests") for path in (ROOT / package).rglob("*")
    ]
    found += [path for path in ROOT.iterdir() if path.is_file() and not path.name.startswith(".")]
    return [
        path for path in found if path.is_file() and (path.suffix in OURS or path.name in ("Makefile", "Dockerfile"))
    ]


def test_constraints_are_plain_pins() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


def test_every_dependency_is_pinned_within_its_bounds() -> None:
    from packaging.requirements import Requirement

    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    pinned = pins()
    for requirement in map(Requirement, wanted):
        version = pinned.get(normal(requirement.name))
        assert version is not None, f"{requirement.name} has no pin"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} against {version}"


def test_the_environment_is_the_pinned_one() -> None:
    from importlib.metadata import distributions

    pinned = pins()
    other = {
        f"{d.name} {d.version}, pinned {pinned[normal(d.name)]}"
        for d in distributions()
        if normal(d.name) in pinned and d.version.split("+")[0] != pinned[normal(d.name)]
    }
    assert not other


def test_the_same_version_stands_everywhere() -> None:
    version = PROJECT["project"]["version"]
    compose = (ROOT / "docker-compose.yml").read_text()
    assert f"alioth:{version}" in compose
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_compiled_library_has_one_version_everywhere() -> None:
    from scripts import llama_wheel

    version = pins()["llama-cpp-python"]
    assert version == llama_wheel.VERSION
    assert f"ARG LLAMA_VERSION={version}" in (ROOT / "Dockerfile").read_text()


def test_every_package_is_in_the_distribution_and_under_the_contracts() -> None:
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    linter = PROJECT["tool"]["importlinter"]
    assert set(linter["root_packages"]) == set(PACKAGES)
    for package in PACKAGES:
        assert (ROOT / package / "__init__.py").exists()
        assert package in include and f"{package}.*" in include


def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("help", "setup", "run", "test", "check", "eval", "bench", "docker-test", "clean", "test-all"):
        assert re.search(rf"^{target}\s+\w", shown, re.MULTILINE), target


def test_no_package_index_and_no_home_directory_in_the_project() -> None:
    pattern = re.compile(r"(?:--(?:extra-)?index-url|--find-links)[= ]\w+:|/(?:home/[a-z]+|root)/[\w.]")
    bad = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in project_files()
        if (match := pattern.search(path.read_text(encoding="utf-8", errors="ignore")))
    ]
    assert not bad


def test_tests_have_no_packages_and_unique_names() -> None:
    tests = ROOT / "tests"
    assert not list(tests.rglob("__init__.py"))
    names = [path.name for path in tests.rglob("test_*.py")]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_no_module_is_named_after_nothing() -> None:
    empty = {"utils", "helpers", "common", "manager", "base", "misc"}
    assert not [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if path.stem in empty]


@pytest.mark.parametrize("library", ["streamlit", "typer", "sqlalchemy", "chromadb", "torch", "llama_cpp"])
def test_the_contracts_forbid_each_library_outside_its_place(library: str) -> None:
    contracts: list[dict[str, Any]] = PROJECT["tool"]["importlinter"]["contracts"]
    assert any(library in contract.get("forbidden_modules", []) for contract in contracts)


def test_a_forbidden_import_breaks_the_contracts(tmp_path: Path) -> None:
    """The linter really looks: one upward import and one stray library in copies of the packages are found."""
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / "chat" / "__init__.py").write_text("import ingest\n")
    (tmp_path / "core" / "__init__.py").write_text("import torch\n")
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    linter = ROOT / ".venv" / "bin" / "lint-imports"
    if not linter.exists():
        pytest.skip("lint-imports is not in .venv")
    done = subprocess.run(
        [linter, "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 1
    assert "imports go only downwards" in done.stdout and "BROKEN" in done.stdout
    assert "chat is not allowed to import ingest" in done.stdout
    assert "core is not allowed to import torch" in done.stdout
