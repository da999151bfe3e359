"""The catalogue: every key in both languages, every key the pages use is there, every key there is used."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.web.messages import catalogue, error_text, preferred, say
from app.web.reasons import reason_text
from core import errors
from core.errors import DOCUMENT_ERRORS, AliothError, LimitError
from core.types import DocumentState, Role, SentenceCheck, Verdict

WEB = Path(__file__).parents[2] / "app" / "web"
SOURCES = [path for path in WEB.rglob("*.py")]
LITERAL = re.compile(r"""["']([a-z]+\.[a-z_]+)["']""")
SECTIONS = {key.partition(".")[0] for key in catalogue()}


def used_keys() -> set[str]:
    keys = set()
    for path in SOURCES:
        for key in LITERAL.findall(path.read_text(encoding="utf-8")):
            if key.partition(".")[0] in SECTIONS:
                keys.add(key)
    return keys


NO_KEYS = {
    "glossary.edit",
    "collection.create",
    "collection.delete",
    "document.delete",
    "app.web",
}  # audit actions, a package
COMPUTED = (
    "sources.",
    "error.",
    "state.",
    "role.",
    "verdict.",
    "notice.",
    "problem.",
    "stage.",
    "library.filter_",
    "upload.",
)
COMPUTED += ("task.kind_", "task.help_", "task.change_", "task.length_", "task.source_", "task.before", "task.after")
COMPUTED += ("generation.", "refused.")
COMPUTED += ("chat.mode_", "report.", "hidden.", "tongue.", "loaded.")
COMPUTED += ("filter.", "search.exact_", "search.stage_", "search.time_")


def test_every_key_has_both_languages_and_the_same_places() -> None:
    for key, texts in catalogue().items():
        assert set(texts) == {"en", "zh"}, key
        places = [sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in texts.values()]
        assert places[0] == places[1], key
        assert all(text.strip() for text in texts.values()), key


def test_chinese_texts_are_chinese_and_english_ones_are_not() -> None:
    han = re.compile(r"[\u4e00-\u9fff]")
    for key, texts in catalogue().items():
        assert han.search(texts["zh"]) or not re.search("[a-z]", texts["zh"].replace("{", "").lower()), key
        assert not han.search(texts["en"]), key


def test_every_key_the_pages_name_exists() -> None:
    missing = {key for key in used_keys() if key not in catalogue() and not (WEB / key).exists()} - NO_KEYS
    assert {key for key in missing if not key.endswith((".css", ".py", ".toml", ".svg", ".png"))} == set()


def test_every_key_of_the_catalogue_is_used() -> None:
    named = used_keys()
    computed_menus = {"chat.rename", "chat.delete", "document.details", "document.retry", "document.delete"}
    computed_menus |= {"admin.enable", "admin.disable"}
    unused = {key for key in catalogue() if key not in named and not key.startswith(COMPUTED)} - computed_menus
    assert unused == set()


def test_every_note_of_loading_has_a_text_with_the_values_it_carries() -> None:
    found: dict[str, set[str]] = {}
    for file in (WEB.parents[1] / "models").rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "LoadNote":
                code = call.args[1]
                names = [code.value] if isinstance(code, ast.Constant) else ["ended_loading", "ended_computing"]
                found |= {str(name): {str(given.arg) for given in call.keywords} for name in names}
    assert len(found) >= 10
    assert {f"loaded.{name}" for name in found} == {key for key in catalogue() if key.startswith("loaded.")}
    for name, values in found.items():
        for text in catalogue()[f"loaded.{name}"].values():
            assert {place for _, place, _, _ in string.Formatter().parse(text) if place} <= values, name


def test_every_state_role_verdict_and_error_has_a_text() -> None:
    keys = [f"state.{state.value}" for state in DocumentState] + [f"role.{role.value}" for role in Role]
    keys += [f"verdict.{verdict.value}" for verdict in Verdict if verdict is not Verdict.SUPPORTED]
    keys += [f"error.{code}" for code in DOCUMENT_ERRORS]
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AliothError)]
    keys += [f"error.{kind.code}" for kind in kinds]
    assert [key for key in keys if key not in catalogue()] == []


def test_every_notice_and_stage_of_the_chat_package_has_a_text() -> None:
    chat = WEB.parents[1] / "chat"
    text = "\n".join(path.read_text(encoding="utf-8") for path in chat.rglob("*.py"))
    notices = re.findall(r'notices\.append\("([a-z_]+)"\)', text)
    stages = re.findall(r'Stage\("([a-z_]+)"\)', text)
    assert notices and stages
    assert [n for n in notices if f"notice.{n}" not in catalogue()] == []
    assert [s for s in stages if f"stage.{s}" not in catalogue()] == []


def test_every_problem_code_of_the_parsers_has_a_text() -> None:
    ingest = WEB.parents[1] / "ingest"
    text = "\n".join(path.read_text(encoding="utf-8") for path in ingest.rglob("*.py"))
    codes = set(re.findall(r'Problem\(\s*"([a-z_]+)"', text))
    assert codes and {code for code in codes if f"problem.{code}" not in catalogue()} == set()


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("", "en"),
        ("fr, zh-Hant;q=0.3", "zh"),
        ("zh;q=0, en;q=0.1", "en"),
        ("zh;q=abc", "en"),
        ("*", "en"),
    ],
)
def test_the_browsers_wish_decides(header: str, language: str) -> None:
    assert preferred(header) == language


@given(st.text(max_size=200))
def test_any_header_gives_a_known_language(header: str) -> None:
    assert preferred(header) in ("zh", "en")


def test_errors_keep_value_rule_and_remedy_in_english_and_their_kind_in_chinese() -> None:
    error = errors.EncryptedError("Cannot read 'a.pdf': it is encrypted.", "Remove the password.")
    assert error_text(error, "en") == "Cannot read 'a.pdf': it is encrypted. Remove the password."
    assert error_text(error, "zh").startswith("文件有密码保护（Cannot read 'a.pdf'")
    assert "42" in error_text(LimitError("x", retry_after_s=41.6), "zh")


def test_every_reason_the_checks_give_is_said_in_chinese() -> None:
    chat = WEB.parents[1] / "chat"
    files = [chat / "support.py", *(chat / "verification").glob("*.py")]
    verify = "\n".join(file.read_text(encoding="utf-8") for file in files)
    found = re.findall(r'(?:return|Verdict\.UNCITED,) f?"([^"]{12,}\.)"', verify)
    found += re.findall(r'f"([^"]*similarity[^"]*)"', verify)
    found += re.findall(r'f"([^"]*“\{[^"]*\.)"', verify)
    assert len(found) >= 20
    for template in found:
        reason = re.sub(r"\[\{[^{}]*\}\]", "[7]", template)
        reason = re.sub(r"\{[^{}]*(?:\[[^\]]*\])?[^{}]*\}", "X", reason)
        said = reason_text(SentenceCheck("s", Verdict.UNSUPPORTED, reason), "zh")
        assert not re.search(r"source|passage|answer", said), (template, said)


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    check = SentenceCheck("s", Verdict.UNSUPPORTED, "Something new.")
    assert reason_text(check, "zh").endswith("Something new.")
    assert say("verdict.unsupported", "zh") in reason_text(check, "zh")
