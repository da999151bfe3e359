"""A campaign has its turn at every place, and says which it did not come to."""

from __future__ import annotations

import importlib
import random

import pytest

from tests.faults.coverage import OUTSIDE, Coverage, unkilled
from tests.faults.failpoints import POINTS, Failpoint


@pytest.mark.parametrize("role", POINTS)
def test_every_place_has_its_turn_before_any_comes_again_and_then_the_other_side(role: str) -> None:
    coverage, rng, names = Coverage(), random.Random(1), [point.name for point in POINTS[role]]
    first = [coverage.choose(role, rng) for _ in names]
    assert sorted(arm.point for arm in first) == sorted(names)
    for arm in first:
        coverage.died(role, arm)
    assert coverage.due(role) == []
    second = [coverage.choose(role, rng) for _ in names]
    assert {(arm.point, arm.after) for arm in second} == {(arm.point, not arm.after) for arm in first}


def test_a_place_counts_when_something_died_there_and_comes_again_until_then() -> None:
    coverage, rng = Coverage(), random.Random(2)
    [point] = POINTS["models"]
    assert coverage.choose("models", rng).point == point.name
    assert coverage.due("models") == [f"models: {point.name}"]
    again = coverage.choose("models", rng)
    assert again.nth == 1, "at its first call, as it was not come to before"
    coverage.died("models", again)
    assert coverage.due("models") == [] and len(coverage.due()) == coverage.total - 1


def test_on_postgresql_no_place_in_the_folder_store_is_waited_for() -> None:
    assert not [name for name in Coverage("postgresql").due() if "files." in name]
    assert [name for name in Coverage("sqlite").due() if "files." in name]


def test_kinds_of_processes_that_nobody_killed_are_told() -> None:
    assert unkilled(["worker", "chroma", "worker"]) == ["models", "parser child", "submitter"]
    assert unkilled(role for role in OUTSIDE) == []


@pytest.mark.parametrize(
    "point", [point for points in POINTS.values() for point in points], ids=lambda point: point.name
)
def test_every_place_is_a_function_of_the_product(point: Failpoint) -> None:
    owner = importlib.import_module(point.module)
    for part in point.attribute.split("."):
        owner = getattr(owner, part)
    assert callable(owner)
