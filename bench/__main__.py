"""`make bench`: measure and rewrite docs/performance.md. `python -m bench start|ingest|query|llm` prints one part.

`python -m bench gpu` prints what a card brings; it is no part of `make bench`.
"""

from __future__ import annotations

import argparse
import itertools
import os
from pathlib import Path

from bench.gpu import gpu_report, measure_gpu
from bench.ingest import LARGE_MB, ROOT, IngestResult, measure_bulk, measure_office, measure_texts
from bench.llm import LlmResult, measure_llm
from bench.query import SIZES, QueryResult, measure_queries
from bench.report import performance_page
from bench.start import StartResult, measure_start
from bench.workplace import workplace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=("start", "ingest", "query", "llm", "gpu"))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="chunks")
    parser.add_argument("--home", type=Path, help="query: keep the collections here, and use those of an earlier run")
    parser.add_argument("--documents", type=int, default=0, help="read in so many small files and a large text, too")
    parser.add_argument("--megabytes", type=int, default=LARGE_MB, help="size of that large text; 0 for none")
    parser.add_argument("--only-bulk", action="store_true", help="with --documents: leave the other sets out")
    parser.add_argument("--quick", action="store_true", help="few files of each set, to see that everything runs")
    given = parser.parse_args()
    if given.part == "gpu":
        print(gpu_report(measure_gpu()))
        return
    load = os.getloadavg()[0]
    ingest: list[IngestResult] = []
    queries: list[QueryResult] = []
    start: StartResult | None = None
    llm: LlmResult | None = None
    if given.part in (None, "start"):
        print("Starting …", flush=True)
        with workplace():
            start = measure_start()
    if given.part in (None, "ingest"):
        sets = [] if given.only_bulk else [measure_texts(given.quick), measure_office(given.quick)]
        if given.documents:
            sets.append(measure_bulk(given.documents, given.quick, given.megabytes))
        for result in itertools.chain(*sets):
            print(f"Read in: {result.name}, {result.chunks:,} chunks, {result.rate:.1f}/s …", flush=True)
            ingest.append(result)
    if given.part in (None, "llm"):
        print("The language model …", flush=True)
        llm = measure_llm(given.quick)
    if given.part in (None, "query"):
        print("Asking …", flush=True)
        with workplace(given.home) as alioth:
            queries = measure_queries(alioth, given.sizes)
    page = performance_page(ingest, queries, load, start, llm)
    print(page)
    if given.part is None:
        (ROOT / "docs" / "performance.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
