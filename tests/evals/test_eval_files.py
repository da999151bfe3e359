"""How much of a file was read: what counts as found, and what of a reference counts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from core.errors import InputError
from evals.files import FileCase, FileResult, figures, group_of, holds, load_cases, missed, token_recall
from evals.report import quality_page


def case(name: str, **known: object) -> FileCase:
    return FileCase(Path(name), name, group_of(name), **known)  # type: ignore[arg-type]


def test_breaks_and_cell_borders_do_not_hide_a_string() -> None:
    assert holds("员工\n手册 | 第一章", "员工手册第一章")
    assert not holds("员工手册第一章", "第二章")


def test_recall_counts_words_with_repetition_and_chinese_by_character() -> None:
    assert token_recall("one two two", "Two, one!") == pytest.approx(2 / 3)
    assert token_recall("年假十五天", "年假五天") == pytest.approx(4 / 5)
    assert token_recall("Ｆｕｌｌ width", "full WIDTH") == 1.0


def test_markup_of_the_reference_does_not_count() -> None:
    assert token_recall("![a picture](img/1.png) <b>word</b> <!-- note -->", "a picture word") == 1.0
    assert token_recall("<!-- image -->", "anything") is None


def test_a_refused_file_counts_as_missed_and_as_not_read() -> None:
    good = FileResult(case("a.pdf", easy=("x",), expected=("x", "y"), reference="x y"), "x")
    bad = FileResult(case("b.pdf", easy=("z",)), "", "Cannot read 'b.pdf'.")
    found = figures([good, bad])
    assert (found["PDF"].files, found["PDF"].read, found["PDF"].easy) == (2, 1, 0.5)
    assert (found["PDF"].expected, found["PDF"].recall) == (0.5, 0.5)
    assert found["All"] == found["PDF"]
    assert missed([good, bad]) == {"a.pdf": ["y"], "b.pdf": ["z"]}


def test_groups_without_known_strings_have_no_figure_for_them() -> None:
    found = figures([FileResult(case("a.eml"), "text")])
    assert (found["Mail"].easy, found["Mail"].expected, found["Mail"].recall) == (None, None, None)
    assert group_of("notes.unknown") == "Other"


def test_a_manifest_gives_the_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "a.md").write_text("reference")
    rows = [{"path": "a.txt", "expect": ["A"], "groundtruth": "a.md"}, {"path": "gone.txt"}]
    manifest = tmp_path / "MANIFEST.jsonl"
    manifest.write_text("\n".join(json.dumps(row) for row in rows))
    [only] = load_cases(manifest)
    assert (only.name, only.expected, only.reference) == ("a.txt", ("A",), "reference")


def test_a_broken_manifest_line_is_named(tmp_path: Path) -> None:
    manifest = tmp_path / "MANIFEST.jsonl"
    manifest.write_text('{"path": "a.txt"}\nnot json')
    with pytest.raises(InputError, match="Line 2"):
        load_cases(manifest)


def test_files_that_gave_nothing_are_counted_by_reason_and_stand_in_the_page() -> None:
    results = [
        FileResult(case("a.pdf"), "", "Cannot ingest 'a.pdf': it is protected by a password.", "encrypted"),
        FileResult(case("b.pdf"), "", "Cannot ingest 'b.pdf': it holds no text.", "empty"),
        FileResult(case("c.zip"), ""),
        FileResult(case("d.eml"), "text"),
    ]
    found = figures(results)
    assert found["PDF"].refused == {"encrypted": 1, "empty": 1}
    assert found["Other"].refused == {"archive": 1} and found["Mail"].refused == {}
    page = quality_page({}, {}, {"Alioth": {group: asdict(row) for group, row in found.items()}}, {}, [])
    assert "| PDF | 1 | 1 | 0 |" in page and "| All | 1 | 1 | 1 |" in page
    assert "| Mail | 0" not in page
