"""Streaming text: whole characters, no part of a stop text, the same result however the bytes are cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from models.engine.answer_text import AnswerText

texts = st.text(alphabet="abc。中🙂 \n", max_size=40)
stops = st.lists(st.text(alphabet="abc。中", min_size=1, max_size=4), max_size=3)


def stream(data: bytes, cuts: list[int], stop: list[str]) -> tuple[list[str], bool]:
    answer = AnswerText(stop)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [answer.feed(data[a:b]) for a, b in itertools.pairwise(edges)]
    return [*pieces, answer.finish()], answer.stopped


def earliest_stop(text: str, stop: list[str]) -> str:
    """The rule in its plainest form: the first prefix that ends with a stop text, without it."""
    for end in range(1, len(text) + 1):
        endings = [mark for mark in stop if text[:end].endswith(mark)]
        if endings:
            return text[: end - max(map(len, endings))]
    return text


@given(texts, st.lists(st.integers(0, 200), max_size=12), stops)
def test_shown_text_ends_before_the_first_stop_however_the_bytes_are_cut(
    text: str, cuts: list[int], stop: list[str]
) -> None:
    pieces, stopped = stream(text.encode(), cuts, stop)
    expected = earliest_stop(text, stop)
    assert "".join(pieces) == expected
    assert stopped == (expected != text)


@given(texts, st.lists(st.integers(0, 200), max_size=12))
def test_every_piece_is_made_of_whole_characters(text: str, cuts: list[int]) -> None:
    pieces, _ = stream(text.encode(), cuts, [])
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) == text


def test_an_unfinished_character_at_the_end_is_dropped() -> None:
    answer = AnswerText()
    assert answer.feed("好".encode() + "的".encode()[:2]) == "好"
    assert answer.finish() == ""


def test_a_possible_stop_is_held_back_until_it_is_decided() -> None:
    answer = AnswerText(["###"])
    assert answer.feed(b"yes ##") == "yes "
    assert answer.feed(b"x") == "##x"
    assert answer.feed(b" ##") == " "
    assert answer.finish() == "##"
