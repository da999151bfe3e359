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
from dataclasses import asdict
from pathlib import Path

from tests.faults import served
from tests.faults.campaign import campaign, postgres
from tests.faults.coverage import unkilled
from tests.faults.episode import Outcome
from tests.faults.inspection import Finding
from tests.faults.outages import ON_A_SMALL_DISK, OUTAGES, Record
from tests.faults.report import Series, page
from tests.faults.small_disk import small_disk

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "faults.md"
RESULTS = ROOT / "artifacts" / "faults"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL, two machines", "served": "`alioth serve`, real models"}
OUTAGE_SERIES = "outages"
DISK_MB = 96
POSTGRES_SHARE = 5
"""One kill on PostgreSQL for so many on SQLite."""
REAL_KILLS = 20


def main() -> int:
    """Exit code 0 when nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m scripts.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="at least so many, on SQLite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real-embedder", action="store_true", help=f"{REAL_KILLS} more, of `alioth serve`")
    choices = [*NAMES, OUTAGE_SERIES]
    parser.add_argument("--series", choices=choices, nargs="+", help="only these; the others as they were found last")
    given = parser.parse_args()
    wanted = given.series or ["sqlite", OUTAGE_SERIES, "postgresql", *(["served"] if given.real_embedder else [])]
    folder = Path(tempfile.mkdtemp(prefix="alioth-faults-"))
    RESULTS.mkdir(parents=True, exist_ok=True)
    clean = True
    for name in wanted:
        if name == OUTAGE_SERIES:
            clean &= _run_outages(folder)
            continue
        found = _run(name, folder, given.kills, given.seed)
        if found is None:
            print("PostgreSQL's server is not installed, so nothing was killed on it.", file=sys.stderr)
            continue
        clean &= all(outcome.clean for outcome in found.outcomes) and _everywhere(name, found)
        (RESULTS / f"{name}.json").write_text(json.dumps(found.to_dict()), encoding="utf-8")
    written = page([Series.from_dict(json.loads(path.read_text())) for path in _results()], _outages())
    PAGE.write_text(written, encoding="utf-8")
    print(written)
    if clean:
        shutil.rmtree(folder)
    else:
        print(f"What is left to look at: {folder}", file=sys.stderr)
    return 0 if clean else 1


def _results() -> list[Path]:
    return [path for name in NAMES if (path := RESULTS / f"{name}.json").exists()]


def _everywhere(name: str, found: Series) -> bool:
    """Whether something died at every failpoint and of every kind of process; says what was left out."""
    if name != "sqlite":
        return True
    roles = unkilled(kill.role for outcome in found.outcomes for kill in outcome.kills)
    missed = [*found.outcomes[-1].due, *(f"any {role}" for role in roles)]
    for place in missed:
        print(f"not come to: {place}", file=sys.stderr)
    return not missed


def _run_outages(folder: Path) -> bool:
    """Everything that is no kill at a place; False on findings. Full disks are left out where none can be mounted."""
    records = []
    for number, outage in enumerate(OUTAGES):
        place = folder / f"outage-{number}"
        try:
            if outage in ON_A_SMALL_DISK:
                with small_disk(place.with_name(f"disk-{number}"), DISK_MB) as disk:
                    if disk is None:
                        print(f"{outage.__name__}: a disk of its own needs the right to mount", file=sys.stderr)
                        continue
                    records.append(outage(place, disk))
            else:
                records.append(outage(place, None))
        except AssertionError as error:
            records.append(Record(outage.__name__, findings=[Finding("stuck", str(error)[-500:])]))
        print(f"{records[-1].name}: {len(records[-1].findings)} findings", file=sys.stderr, flush=True)
    (RESULTS / f"{OUTAGE_SERIES}.json").write_text(json.dumps([asdict(one) for one in records]), encoding="utf-8")
    return all(not one.findings for one in records)


def _outages() -> list[Record]:
    path = RESULTS / f"{OUTAGE_SERIES}.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Record(**{**row, "findings": [Finding(**one) for one in row["findings"]]}) for row in rows]


def _run(name: str, folder: Path, kills: int, seed: int) -> Series | None:
    if name == "sqlite":
        outcomes = campaign(folder / name, kills, seed, say=_say, everywhere=True)
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
    places = f", {len(outcome.due)} places to come to" if outcome.due else ""
    print(f"{line}, {len(outcome.findings)} findings{places}", file=sys.stderr, flush=True)
    for finding in outcome.findings:
        print(f"    {finding.kind}: {finding.detail}", file=sys.stderr, flush=True)


def _facts(outcomes: list[Outcome]) -> str:
    seconds = sum(outcome.seconds for outcome in outcomes)
    return f"{datetime.date.today()}, {seconds:.0f} s on {os.cpu_count()} CPU cores ({platform.machine()})"


if __name__ == "__main__":
    raise SystemExit(main())
