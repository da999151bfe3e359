"""Filters: what passes, and what is refused as no filter."""

from __future__ import annotations

from datetime import date

import pytest

from core.errors import InputError
from core.filters import Filters, make_filters

ADDED = date(2026, 3, 5)


def takes(
    filters: Filters, path: str = "hr/leave.pdf", own: str = "", added: date = ADDED, language: str = "en"
) -> bool:
    return filters.takes(path, "d1", own, added, language)


def test_without_filters_everything_passes() -> None:
    assert not Filters() and takes(Filters())


@pytest.mark.parametrize(
    ("pattern", "path", "passes"),
    [
        ("hr", "hr/leave.pdf", True),
        ("hr/", "hr/old/leave.pdf", True),
        ("hr", "hr2/leave.pdf", False),
        ("HR/*.PDF", "hr/leave.pdf", True),
        ("hr/*.pdf", "hr/old/leave.pdf", True),
        ("*.docx", "hr/leave.pdf", False),
        ("/hr/leave.pdf", "hr/leave.pdf", True),
        ("合同/*", "合同/2024/甲.docx", True),
        ("a[1]", "a[1]", False),
    ],
)
def test_a_path_is_a_folder_or_a_pattern(pattern: str, path: str, passes: bool) -> None:
    assert takes(make_filters(paths=[pattern]), path) is passes


@pytest.mark.parametrize(
    ("kind", "path", "passes"),
    [
        ("word", "a.DOCX", True),
        ("word", "a.pdf", False),
        (".Docx", "a.docx", True),
        ("excel", "数据.csv", True),
        ("pdf", "no-extension", False),
        ("pdf", "archive.zip/inner.pdf", True),
    ],
)
def test_a_type_is_a_kind_or_an_extension(kind: str, path: str, passes: bool) -> None:
    assert takes(make_filters(types=[kind]), path) is passes


@pytest.mark.parametrize(
    ("own", "passes"),
    [("2025-06-30 12:00", True), ("2025-07-01", False), ("2025", True), ("2025-06", True), ("2024-12-31", False)],
)
def test_a_document_passes_when_its_date_may_lie_in_the_span(own: str, passes: bool) -> None:
    assert takes(make_filters(since="2025", until="2025-06"), own=own) is passes


def test_a_document_without_a_date_counts_by_the_day_it_was_added() -> None:
    assert takes(make_filters(since="2026-03-05", until="2026-03-05"), own="last Tuesday")
    assert not takes(make_filters(until="2026-03-04"), own="")


def test_added_goes_by_the_day_it_was_added_whatever_its_own_date() -> None:
    assert not takes(make_filters(added_since="2026-03-06"), own="2030-01-01")
    assert takes(make_filters(added_since="2026-03-05"), own="1999-01-01")


def test_a_language_takes_its_scripts_and_mixed_documents() -> None:
    only = make_filters(languages=["zh"])
    assert takes(only, language="zh-Hant") and takes(only, language="mixed") and not takes(only, language="en")


def test_every_field_must_hold_and_any_value_in_it() -> None:
    both = make_filters(types=["pdf", "word"], paths=["hr"])
    assert takes(both) and not takes(both, "finance/x.pdf") and not takes(both, "hr/x.xlsx")


def test_documents_are_named_by_path_or_id() -> None:
    assert takes(make_filters(documents=["hr/leave.pdf"]))
    assert takes(make_filters(documents=["d1"])) and not takes(make_filters(documents=["hr/leave"]))


def test_json_form_comes_back_as_it_was() -> None:
    filters = make_filters(["a"], ["pdf"], ["b/*"], "2020", "2021-02", "2022-01-01", "2022-12", ["en"])
    assert Filters.from_dict(filters.to_dict()) == filters
    assert filters.until == date(2021, 2, 28) and filters.added_until == date(2022, 12, 31) and filters.count == 8
    assert Filters().to_dict() == {} and Filters.from_dict({"unknown": 1}) == Filters()


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "yesterday"},
        {"since": "2025-13"},
        {"until": "2025-02-30"},
        {"types": ["*.pdf"]},
        {"languages": ["klingon"]},
        {"since": "2025", "until": "2024"},
        {"documents": [f"{n}.md" for n in range(501)]},
    ],
)
def test_what_is_no_filter_is_refused_with_the_value(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        make_filters(**wrong)  # type: ignore[arg-type]
    assert caught.value.hint
