"""Citation marks in streamed text."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.cite import MARK, MarkParser, without_marks


def parse(*deltas: str, offered: tuple[int, ...] = (1, 2, 3)) -> tuple[str, list[int]]:
    parser = MarkParser(offered)
    return "".join(parser.feed(delta) for delta in deltas) + parser.finish(), parser.cited


@pytest.mark.parametrize(
    ("written", "shown", "cited"),
    [
        ("It is so [1].", "It is so [1].", [1]),
        ("如此【1】。", "如此[1]。", [1]),
        ("如此［２］。", "如此[2]。", [2]),
        ("Both [1,2].", "Both [1][2].", [1, 2]),
        ("三处[1、3]。", "三处[1][3]。", [1, 3]),
        ("All [1-3].", "All [1][2][3].", [1, 2, 3]),
        ("Two [2][1].", "Two [2][1].", [2, 1]),
        ("Never offered [7].", "Never offered.", []),
        ("Half offered [2, 9].", "Half offered [2].", [2]),
        ("A year [2021] stays.", "A year [2021] stays.", []),
        ("A list [x] stays.", "A list [x] stays.", []),
        ("An end [1", "An end", []),
        ("An end [", "An end", []),
        ("An odd one []", "An odd one []", []),
        ("Twice [[1]].", "Twice [ [1]].", [1]),
    ],
)
def test_marks_are_written_as_n_and_only_offered_ones_stay(written: str, shown: str, cited: list[int]) -> None:
    assert parse(written) == (shown, cited)
    assert parse(*written) == (shown, cited)


_PIECES = st.lists(
    st.sampled_from(
        ["[", "]", "【", "】", "［", "1", "2", "9", "12", ",", "-", " ", "a", "。", "[1]", "[9]", "[1-3]", "\n"]
    ),
    max_size=30,
)


@given(pieces=_PIECES, cuts=st.sets(st.integers(0, 80)))
def test_any_split_of_the_text_gives_the_same_result(pieces: list[str], cuts: set[int]) -> None:
    text = "".join(pieces)
    edges = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    deltas = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert parse(*deltas) == parse(text)


@given(pieces=_PIECES, offered=st.sets(st.integers(1, 12)))
def test_no_mark_is_ever_shown_that_was_not_offered(pieces: list[str], offered: set[int]) -> None:
    shown, cited = parse(*pieces, offered=tuple(offered))
    marks = {int(number) for number in MARK.findall(shown)}
    assert marks <= offered
    assert set(cited) <= offered


@given(pieces=_PIECES)
def test_what_is_shown_so_far_never_holds_half_a_mark(pieces: list[str]) -> None:
    parser = MarkParser((1, 2))
    shown = ""
    for piece in pieces:
        shown += parser.feed(piece)
        assert not re.search(r"[\[【［]\d*$", shown)


def test_footnotes_of_a_document_cannot_be_taken_for_citations() -> None:
    assert without_marks("Founded in 1999.[3] Sold [4, 5] later【6】.") == "Founded in 1999. Sold later."
    assert without_marks("Array [2021] stays") == "Array [2021] stays"
