"""Sketches: near copies share bands, other texts do not, in Chinese and English, whatever the spelling of blanks."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.near_duplicates import MIN_SHINGLES, sketch
from storage.sketches import BANDS, NEAR, similarity

ENGLISH = " ".join(
    f"Rule {n}: employees of branch {n * 7 % 31} send the receipts of trip {n} within {n % 9 + 3} days to office {n}."
    for n in range(60)
)
CHINESE = "".join(
    f"第{n}条 第{n * 7 % 31}分公司员工应在出差后{n % 9 + 3}天内将第{n}次行程的票据提交给第{n}办公室，逾期不予报销。"
    for n in range(60)
)


def alike(one: str, other: str) -> float:
    return similarity(sketch([one]), dict(enumerate(sketch([other]))))


def found(one: str, other: str) -> bool:
    """As the store finds it: a band in common, and similar enough."""
    first, second = sketch([one]), sketch([other])
    shared = any(a == b for a, b in zip(first, second, strict=False))
    return shared and similarity(first, dict(enumerate(second))) >= NEAR


def edited(text: str, share: float, rng: random.Random) -> str:
    """The text with this share of its words (or pairs of Chinese characters) changed, dropped or doubled."""
    units = re.findall(r"[\u3400-\u9fff]{1,2}|\w+|\W+", text)
    words = [unit for unit in units if unit[0].isalnum()]
    out = []
    for unit in units:
        if unit[0].isalnum() and rng.random() < share:
            unit = rng.choice(["", rng.choice(words), f"{unit}{rng.choice(words)}"])
        out.append(unit)
    return "".join(out)


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.1])
def test_copies_with_up_to_a_tenth_of_the_words_changed_are_found(text: str, share: float) -> None:
    for seed in range(5):
        assert found(text, edited(text, share, random.Random(seed)))


@pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_case_width_blanks_and_punctuation_do_not_matter(text: str) -> None:
    spaced = text.upper().replace(" ", "\n\n").replace("，", ", ").replace(".", " ")
    wide = "".join(chr(ord(ch) + 0xFEE0) if "!" <= ch <= "~" else ch for ch in text)
    assert alike(text, spaced) == alike(text, wide) == 1.0


def test_the_cut_into_blocks_does_not_matter() -> None:
    assert sketch([ENGLISH]) == sketch(ENGLISH.split(". "))


def test_texts_on_other_matters_are_not_alike() -> None:
    other = " ".join(f"The {n}th spectrometer was calibrated with lamp {n * 3} at {n * 11} kelvin." for n in range(80))
    assert not found(ENGLISH, other) and alike(ENGLISH, other) < 0.1


def test_a_text_too_short_to_tell_has_no_sketch() -> None:
    assert sketch(["See the attachment."]) == () == sketch([])
    assert sketch(["ab " * 500]) == ()  # long, but it says one thing
    assert len(sketch([ENGLISH[: MIN_SHINGLES * 2]])) == BANDS


@given(st.text(max_size=600))
def test_any_text_gives_the_same_bands_twice_or_none(text: str) -> None:
    bands = sketch([text])
    assert bands == sketch([text]) and len(bands) in (0, BANDS)
    assert all(0 <= value < 2**63 for value in bands)


@given(st.lists(st.integers(0, 59), min_size=1, max_size=25, unique=True))
def test_the_estimate_is_near_the_true_share_of_common_text(dropped: list[int]) -> None:
    rules = ENGLISH.split("Rule ")[1:]
    kept = "Rule ".join(rule for n, rule in enumerate(rules) if n not in dropped)
    assert abs(alike(ENGLISH, "Rule " + kept) - (1 - len(dropped) / 60)) < 0.2


def test_real_documents_their_copies_are_found_and_no_other(evaluation_files: Path) -> None:
    """The measurement of docs/decisions/0011-near-duplicates.md in small."""
    for name in ("zh_cmrc", "en_gitlab_handbook"):
        with (evaluation_files / name / "documents.jsonl").open(encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file][:400]
        texts = [text for text in texts if len(text) > 400][:40]
        rng, strangers = random.Random(3), 0
        sketches = [sketch([text]) for text in texts]
        for number, text in enumerate(texts):
            copy = sketch([edited(text, 0.1, rng)])
            hits = [
                other
                for other, bands in enumerate(sketches)
                if set(enumerate(bands)) & set(enumerate(copy)) and similarity(copy, dict(enumerate(bands))) >= NEAR
            ]
            assert number in hits
            for other in hits:  # two metro stations may be described in nearly the same words
                assert similarity(sketches[number], dict(enumerate(sketches[other]))) > NEAR - 0.1
                strangers += other != number
        assert strangers <= 2
