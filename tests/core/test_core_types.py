"""Domain types keep what they are given."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from core import errors
from core.types import Box, Fingerprint, Locator, NewChunk, Role

FULL = Locator(
    page=2,
    page_end=3,
    boxes=(Box(2, 1.0, 2.0, 3.0, 4.0),),
    heading=("A", "甲"),
    slide=4,
    sheet="S",
    cells="A1:B2",
    lines=(5, 6),
    chars=(0, 9),
)
PRINT = Fingerprint("minilm", "abc", 384, True, "", "1")


@pytest.mark.parametrize("locator", [FULL, Locator(), Locator(page=1)])
def test_a_locator_survives_its_json_form(locator: Locator) -> None:
    assert Locator.from_dict(locator.to_dict()) == locator


def test_empty_fields_stay_out_of_the_json_form() -> None:
    assert Locator(page=1).to_dict() == {"page": 1}


@pytest.mark.parametrize(
    "other",
    [
        replace(PRINT, embedder_id="other"),
        replace(PRINT, weights_sha256="def"),
        replace(PRINT, dimension=385),
        replace(PRINT, normalised=False),
        replace(PRINT, prefix="query: "),
        replace(PRINT, chunker_version="2"),
    ],
)
def test_every_field_of_a_fingerprint_counts(other: Fingerprint) -> None:
    assert other.key != PRINT.key


def test_the_context_line_is_part_of_what_is_embedded() -> None:
    assert NewChunk(0, "text", Locator(), context="Title > Part").embedded_text == "Title > Part\ntext"
    assert NewChunk(0, "text", Locator()).embedded_text == "text"


def test_roles_include_the_ones_before_them() -> None:
    assert Role.READ.rank < Role.WRITE.rank < Role.MANAGE.rank


def test_errors_survive_a_process_border() -> None:
    error = errors.EncryptedError("Cannot read 'a.pdf'.", "Remove the password.")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.message, again.hint) == (errors.EncryptedError, error.message, error.hint)


def test_every_document_error_has_its_own_code() -> None:
    kinds = [errors.DocumentError, *errors.DocumentError.__subclasses__()]
    assert sorted(errors.DOCUMENT_ERRORS) == sorted(kind.code for kind in kinds)
    assert len(errors.DOCUMENT_ERRORS) == len(kinds)
