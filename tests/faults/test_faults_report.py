"""The report says what was killed, how often and what was found, and survives being written to a file."""

from __future__ import annotations

import json
from collections import Counter

from tests.faults.episode import Kill, Outcome
from tests.faults.inspection import Finding
from tests.faults.outages import Record
from tests.faults.report import Series, page


def outcome(seed: int, *findings: Finding) -> Outcome:
    kills = [Kill("worker", "before switch", "switch"), Kill("chroma", "at a random time", "embedding")]
    return Outcome(seed, kills, 1, Counter({"add": 7, "delete": 2}), [], 5, 6, 70, 1, 3.0, list(findings))


def test_the_page_counts_kills_by_process_place_and_what_was_found() -> None:
    series = Series("SQLite", 4, [outcome(4), outcome(5, Finding("lost", "'a' is not there"))], "on a machine")
    text = page([series])
    assert "4 kills in all" in text
    assert "| SQLite | 4–5 | 4 | 2 | 18 | 10 | 140 | 1 | 0 | 0 | 0 | 0 |" in text
    assert "| chroma | 2 | 0 | 2 |" in text and "| worker | 2 | 2 | 0 |" in text
    assert "| worker | switch: before switch | 2 |" in text
    assert "- SQLite, seed 5: lost: 'a' is not there" in text
    assert "add 14, delete 4" in text


def test_a_series_comes_back_from_its_file_as_it_was() -> None:
    series = Series("SQLite", 4, [outcome(4, Finding("stuck", "for ever"))], "on a machine")
    assert Series.from_dict(json.loads(json.dumps(series.to_dict()))) == series


def test_the_page_says_at_which_places_nothing_died() -> None:
    series = Series("SQLite", 4, [outcome(4)], "on a machine")
    series.outcomes[0].due = ["worker: claim"]
    text = page([series])
    assert "failpoints were come to" in text and "`worker: claim`" in text and "`submitter: ring`" in text
    assert "`worker: switch`" not in text


def test_the_page_tells_what_was_away_and_what_a_person_reads_of_a_document_that_kills() -> None:
    records = [
        Record("the disk was full", 12, 0, "No room is left on the disk."),
        Record("a document killed every worker", 13, 3, "Gave up: tried 3 times.", [Finding("stuck", "for ever")]),
    ]
    text = page([], records)
    assert "| the disk was full | 12 |  | No room is left on the disk. | 0 |" in text
    assert "| a document killed every worker | 13 | 3 | Gave up: tried 3 times. | 1 |" in text
    assert "- a document killed every worker: stuck: for ever" in text
