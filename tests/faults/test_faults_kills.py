"""Whatever is killed and whenever: every document is once in a terminal state afterwards, and nothing is left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import campaign, postgres
from tests.faults.episode import Outcome


def shown(outcomes: list[Outcome]) -> str:
    lines = [f"seed {o.seed}: {finding.kind}: {finding.detail}" for o in outcomes for finding in o.findings]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_kills_on_one_machine_lose_double_and_leave_nothing(tmp_path: Path, seed: int) -> None:
    outcomes = campaign(tmp_path, 15, seed)
    assert shown(outcomes) == ""
    kills = [kill for outcome in outcomes for kill in outcome.kills]
    assert len(kills) >= 15 and len({kill.role for kill in kills}) >= 2


def test_kills_with_workers_on_two_machines_lose_double_and_leave_nothing(tmp_path: Path) -> None:
    with postgres() as fresh:
        if fresh is None:
            pytest.skip("PostgreSQL's server is not installed (Debian: apt install postgresql)")
        outcomes = campaign(tmp_path, 10, 14, fresh, homes=2)
    assert shown(outcomes) == ""
    assert sum(len(outcome.kills) for outcome in outcomes) >= 10
