"""The glossary as CSV and on the command line, with the rights of who asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.glossary_csv import read_terms, write_terms
from app.wiring import Alioth
from core.errors import InputError, NotFoundError, PermissionDeniedError
from core.settings import Settings
from core.types import Fingerprint, GlossaryTerm, Role

TERMS = [
    GlossaryTerm("年假", ("annual leave", "带薪休假"), True, 'says "HR", x'),
    GlossaryTerm("OKR", ("目标",), False, ""),
    GlossaryTerm("=SUM", ("-1",), True, ""),
]


def test_what_is_written_is_read_back_and_no_cell_is_a_formula() -> None:
    text = write_terms(TERMS)
    assert read_terms(text.encode("utf-8-sig"), "g.csv") == TERMS
    assert not any(cell.startswith(("=", "-")) for line in text.splitlines() for cell in line.split(","))


@pytest.mark.parametrize(
    "data",
    [
        "术语,同义词,双向,备注\n年假,annual leave；带薪休假,是,\n".encode("gb18030"),
        "年假,annual leave;带薪休假\n\n".encode(),
        "note\tothers\tterm\n\tannual leave|带薪休假\t年假\n".encode("utf-8-sig"),
    ],
)
def test_spreadsheets_of_either_language_are_read(data: bytes) -> None:
    assert read_terms(data, "g.csv") == [GlossaryTerm("年假", ("annual leave", "带薪休假"), True, "")]


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "no term"), (b"term,others\n", "no term"), (b"a,b\n,c\n", "line 2"), (b"\xff\xff\x00", "UTF-8")],
)
def test_a_file_that_is_no_glossary_is_refused_with_its_line(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_terms(data, "g.csv")


def test_terms_are_added_listed_exported_imported_and_removed(run: Callable[..., str], tmp_path: Path) -> None:
    import json

    _collection(tmp_path)
    run("glossary", "add", "年假", "annual leave", "带薪休假", "-c", "hr")
    run("glossary", "add", "OKR", "goals", "-c", "HR", "--one-way", "--note", "per quarter")
    listed = json.loads(run("glossary", "list", "-c", "HR", "--json"))
    assert listed == [
        {"term": "OKR", "others": ["goals"], "both_ways": False, "note": "per quarter"},
        {"term": "年假", "others": ["annual leave", "带薪休假"], "both_ways": True, "note": ""},
    ]
    file = tmp_path / "out.csv"
    run("glossary", "export", str(file), "-c", "HR")
    assert run("glossary", "export", "-c", "HR").startswith("term,others,both_ways,note")
    run("glossary", "remove", "okr", "年假", "-c", "HR")
    assert json.loads(run("glossary", "list", "-c", "HR", "--json")) == []
    assert json.loads(run("glossary", "import", str(file), "-c", "HR", "--json")) == {"imported": 2}
    assert json.loads(run("glossary", "list", "-c", "HR", "--json")) == listed
    file.write_text("term,others\nKPI,measure\n", encoding="utf-8")
    run("glossary", "import", str(file), "-c", "HR", "--replace")
    assert [one["term"] for one in json.loads(run("glossary", "list", "-c", "HR", "--json"))] == ["KPI"]


def test_a_stranger_sees_no_glossary_and_a_reader_changes_none(run: Callable[..., str], tmp_path: Path) -> None:
    def people(parts: Alioth, collection: Any) -> None:
        reader = parts.accounts_store.add_user("reader", "x", False)
        parts.accounts_store.add_user("stranger", "x", False)
        parts.accounts_store.grant(collection.id, "user", reader.id, Role.READ)

    _collection(tmp_path, people)
    run("glossary", "add", "OKR", "goals", "-c", "HR")
    assert "goals" in run("--as", "reader", "glossary", "list", "-c", "HR")
    with pytest.raises(PermissionDeniedError):
        run("--as", "reader", "glossary", "add", "KPI", "measure", "-c", "HR")
    with pytest.raises(PermissionDeniedError):
        run("--as", "reader", "glossary", "remove", "OKR", "-c", "HR")
    for words in (["list"], ["export"], ["add", "KPI", "measure"]):
        with pytest.raises(NotFoundError):
            run("--as", "stranger", "glossary", *words, "-c", "HR")


def _collection(tmp_path: Path, more: Callable[[Alioth, Any], None] = lambda parts, collection: None) -> None:
    parts = Alioth(Settings(home=tmp_path / "data"))
    made = parts.collections.create("HR", Fingerprint("test", "0" * 64, 8, True, "", "1"))
    more(parts, made)
    parts.close()
