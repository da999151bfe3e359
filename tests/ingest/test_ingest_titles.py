"""What a document is called: its own title, its first heading, its file's name, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.types import Block, BlockKind
from ingest.parse import choose_title
from ingest.parsers import Source


def title(name: str, own: str = "", *blocks: Block) -> str:
    return choose_title(own, list(blocks), Source(Path(name), name))


@pytest.mark.parametrize(
    "name",
    [
        "f64dffd42029.md",
        "scan-550e8400-e29b-41d4-a716-446655440000.pdf",
        "rgb-en_rgb_fact-f64dffd42029.md",
        "20240131123456789.tif",
    ],
)
def test_a_hash_or_serial_number_is_no_title(name: str) -> None:
    assert title(name) == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("员工手册2024.docx", "员工手册2024"),
        ("Handbook2024.docx", "Handbook2024"),
        ("Q3FY2023Report.pdf", "Q3FY2023Report"),
        ("GB/T-9704-2012.pdf", "T-9704-2012"),
        ("Invoice 00012345.pdf", "Invoice 00012345"),
        ("facade.md", "facade"),
    ],
)
def test_a_name_that_people_gave_is_one(name: str, expected: str) -> None:
    assert title(name) == expected


def test_own_titles_and_headings_come_before_the_name() -> None:
    heading = Block(BlockKind.HEADING, "Travel costs", level=1)
    assert title("f64dffd42029.md", "Expenses") == "Expenses"
    assert title("f64dffd42029.md", "Untitled 1", heading) == "Travel costs"
