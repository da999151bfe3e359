"""Nothing is lost, doubled or failed because a part was away for a while, or for what one document does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import StoreUnavailableError
from ingest.doorbell import Doorbell
from tests.faults.outages import ON_A_SMALL_DISK, OUTAGES, Record
from tests.faults.scenario import ballast


def _name(outage: Callable[[Path, Path | None], Record]) -> str:
    return outage.__name__


@pytest.mark.parametrize("outage", [one for one in OUTAGES if one not in ON_A_SMALL_DISK], ids=_name)
def test_what_is_away_delays_documents_and_what_kills_is_given_up(
    tmp_path: Path, outage: Callable[[Path, Path | None], Record]
) -> None:
    record = outage(tmp_path / "town", None)
    assert record.findings == [] and record.documents >= 12


@pytest.mark.parametrize("outage", ON_A_SMALL_DISK, ids=_name)
def test_a_full_disk_is_named_fails_no_document_and_ends_no_worker(
    tmp_path: Path, small_disk: Callable[[int], Path], outage: Callable[[Path, Path | None], Record]
) -> None:
    record = outage(tmp_path / "town", small_disk(96))
    assert record.findings == [] and record.documents >= 12


def test_a_ring_that_a_full_disk_does_not_take_is_no_error_and_the_next_one_is_heard(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(2)
    bell = Doorbell(disk, "sqlite:///x.db")
    with ballast(disk, 0):
        for _ in range(5):
            bell.ring(["some-id"])
    bell.ring()
    assert bell._huey.pending_count() >= 1
    bell.close()


def test_a_queue_that_a_full_disk_does_not_let_be_made_is_named(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(1)
    with ballast(disk, 0), pytest.raises(StoreUnavailableError, match=r"queue\.db.*") as raised:
        Doorbell(disk, "sqlite:///x.db")
    assert "Free space" in raised.value.hint
