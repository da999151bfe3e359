"""Whatever is killed and whenever: every document is once in a terminal state afterwards, and nothing is left over."""

from __future__ import annotations

import subprocess
import sys
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


def test_processes_that_start_at_once_on_a_new_postgresql_all_get_their_doorbell(tmp_path: Path) -> None:
    with postgres() as fresh:
        if fresh is None:
            pytest.skip("PostgreSQL's server is not installed (Debian: apt install postgresql)")
        code = "import sys; from pathlib import Path; from ingest.doorbell import Doorbell; sys.stdin.readline(); "
        code += "bell = Doorbell(Path(sys.argv[1]), sys.argv[2]); bell.ring(); bell.close()"
        command = [sys.executable, "-c", code, str(tmp_path), fresh()]
        waiting = [subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
        for process in waiting:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        ends = [process.communicate() for process in waiting]
        assert [process.returncode for process in waiting] == [0] * 8, ends
