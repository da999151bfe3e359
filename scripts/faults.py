"""`make faults`: kill Alioth's processes many times, look whether anything was lost, and write docs/faults.md.

What each series found goes to artifacts/faults, so that one can be run alone and the page still shows all.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults import served
from tests.faults.campaign import campaign, postgres
from tests.faults.episode import Outcome
from tests.faults.report import Series, page

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "faults.md"
RESULTS = ROOT / "artifacts" / "faults"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL, two machines", "served": "`alioth serve`, real models"}
POSTGRES_SHARE = 5
"""One kill on PostgreSQL for so many on SQLite."""
REAL_KILLS = 20


def main() -> int:
    """Exit code 0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m scripts.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="at least so many, on SQLite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real-embedder", action="store_true", help=f"{REAL_KILLS} more, of `alioth serve`")
    parser.add_argument("--series", choices=NAMES, nargs="+", help="only these; the others as they were found last")
    given = parser.parse_args()
    wanted = given.series or ["sqlite", "postgresql", *(["served"] if given.real_embedder else [])]
    folder = Path(tempfile.mkdtemp(prefix="alioth-faults-"))
    RESULTS.mkdir(parents=True, exist_ok=True)
    clean = True
    for name in wanted:
        found = _run(name, folder, given.kills, given.seed)
        if found is None:
            print("PostgreSQL's server is not installed, so nothing was killed on it.", file=sys.stderr)
            continue
        clean &= all(outcome.clean for outcome in found.outcomes)
        (RESULTS / f"{name}.json").write_text(json.dumps(found.to_dict()), encoding="utf-8")
    written = page([Series.from_dict(json.loads(path.read_text())) for path in _results()])
    PAGE.write_text(written, encoding="utf-8")
    print(written)
    if clean:
        shutil.rmtree(folder)
    else:
        print(f"What is left to look at: {folder}", file=sys.stderr)
    return 0 if clean else 1


def _results() -> list[Path]:
    return [path for name in NAMES if (path := RESULTS / f"{name}.json").exists()]


def _run(name: str, folder: Path, kills: int, seed: int) -> Series | None:
    if name == "sqlite":
        outcomes = campaign(folder / name, kills, seed, say=_say)
    elif name == "postgresql":
        with postgres() as fresh:
            if fresh is None:
                return None
            seed += 1000
            outcomes = campaign(folder / name, max(1, kills // POSTGRES_SHARE), seed, fresh, homes=2, say=_say)
    else:
        seed += 2000
        outcomes = [served.run(folder / name, REAL_KILLS, seed)]
        _say(outcomes[0])
    return Series(NAMES[name], seed, outcomes, _facts(outcomes))


def _say(outcome: Outcome) -> None:
    line = f"seed {outcome.seed}: {len(outcome.kills)} kills, {outcome.documents} documents, {outcome.seconds:.0f} s"
    print(f"{line}, {len(outcome.findings)} findings", file=sys.stderr, flush=True)
    for finding in outcome.findings:
        print(f"    {finding.kind}: {finding.detail}", file=sys.stderr, flush=True)


def _facts(outcomes: list[Outcome]) -> str:
    seconds = sum(outcome.seconds for outcome in outcomes)
    return f"{datetime.date.today()}, {seconds:.0f} s on {os.cpu_count()} CPU cores ({platform.machine()})"


if __name__ == "__main__":
    raise SystemExit(main())
