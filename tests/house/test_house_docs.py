"""The manual says what the program does: generated pages are current, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from app.cli.root import app
from core.settings import variable_names
from scripts import gen_docs

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BY_HAND = [page for page in PAGES if page.name not in ("cli.md", "settings.md", "quality.md", "performance.md")]


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("name", list(gen_docs.PAGES))
def test_generated_pages_are_current(name: str) -> None:
    """`make docs` writes them."""
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == gen_docs.PAGES[name]()


def test_every_setting_is_documented_and_no_other() -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(ALIOTH_\w+)`", page, re.MULTILINE)) == set(variable_names())


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{shown(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, target


def commands(page: Path) -> Iterator[list[str]]:
    """Words after `alioth` in code blocks and in code within sentences."""
    text = page.read_text(encoding="utf-8")
    blocks = [
        line for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL) for line in block.splitlines()
    ]
    inline = re.findall(r"`(alioth [^`]+)`", text)
    for line in [*blocks, *inline]:
        match = re.match(r"(?:\$ )?(?:docker compose exec web )?alioth (?P<rest>.*)", line.split("   ")[0])
        if match:
            yield shlex.split(match["rest"].replace("[", " ").replace("]", " ").replace("…", ""))


def walk(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words reach, and the words left."""
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("page", BY_HAND, ids=shown)
def test_commands_and_options_in_the_manual_exist(page: Path) -> None:
    for words in commands(page):
        if "|" in words:
            continue
        command, rest = walk(words)
        assert len(rest) < len(words), f"{shown(page)}: alioth {' '.join(words)}"
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word for word in rest if word.startswith("-")} - known
        assert not unknown, f"{shown(page)}: alioth {' '.join(words)}"


@pytest.mark.parametrize("page", BY_HAND, ids=shown)
def test_settings_in_the_manual_exist(page: Path) -> None:
    compose = {"ALIOTH_PORT", "ALIOTH_BIND"}
    named = set(re.findall(r"\bALIOTH_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
    assert named <= set(variable_names()) | compose


def test_the_manual_for_users_stands_in_both_languages() -> None:
    for name in ("quickstart.md", "operate.md", "faq.md"):
        assert (ROOT / "docs" / name).exists() and (ROOT / "docs" / "zh" / name).exists()
    english, chinese = ((ROOT / "docs" / folder / "faq.md").read_text(encoding="utf-8") for folder in ("", "zh"))
    assert english.count("\n## ") == chinese.count("\n## ")


def test_decisions_are_numbered_without_gaps() -> None:
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_every_make_target_in_the_manual_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in BY_HAND:
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert target in targets, f"{shown(page)}: make {target}"
