"""`make bench`: measure and rewrite docs/performance.md. `python -m bench start|ingest|query` prints one part only."""

from __future__ import annotations

import argparse
import os

from bench.ingest import ROOT, SOURCES, IngestResult, measure_ingest
from bench.query import SIZES, QueryResult, measure_queries
from bench.report import performance_page
from bench.start import StartResult, measure_start
from bench.workplace import workplace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("start", "ingest", "query"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="chunks")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    ingest: list[IngestResult] = []
    queries: list[QueryResult] = []
    start: StartResult | None = None
    if given.part in (None, "start"):
        print("Starting …", flush=True)
        with workplace():
            start = measure_start()
    if given.part in (None, "ingest"):
        for name, folder in SOURCES.items():
            if folder.is_dir():
                print(f"Reading in: {name} …", flush=True)
                with workplace() as alioth:
                    ingest.append(measure_ingest(alioth, folder, name))
    if given.part in (None, "query"):
        print("Asking …", flush=True)
        with workplace() as alioth:
            queries = measure_queries(alioth, given.sizes)
    page = performance_page(ingest, queries, load, start)
    print(page)
    if given.part is None:
        (ROOT / "docs" / "performance.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
