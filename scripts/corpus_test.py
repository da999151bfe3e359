"""`make corpus-test`: read the real files beside the repository with our parsers and with plain readers, and compare.

Ends with exit code 1 when an easy string of a file is not found. Figures go to
artifacts/eval/files.json, from where docs/quality.md takes them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from core.errors import AliothError, DocumentError
from core.settings import IngestSettings
from core.types import ParsedDocument
from evals.files import FileCase, FileResult, figures, load_cases, missed
from ingest.archive import archive_kind
from ingest.parser_pool import ParserPool
from ingest.unpack import Member
from ingest.unpack_apart import unpack_apart

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ROOT.parent / "shared" / "eval" / "files" / "MANIFEST.jsonl"
RESULT = ROOT / "artifacts" / "eval" / "files.json"
PLAIN = ROOT / "artifacts" / "plain-readers"
PLAIN_PACKAGES = ("markitdown[docx,outlook,pdf,pptx,xls,xlsx]==0.1.8", "pypdf==7.1.0")
NOT_SHOWN = {
    ("tika/testWORD_2006ml.docx", "Click or tap to enter a date"): "stands in Word's list of placeholders only; the "
    "field in the document shows a date."
}
"""Strings that a file's own program never shows, and why. They still count as missed in the figures."""
WORKERS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="files whose path holds this")
    parser.add_argument("--no-compare", action="store_true", help="our parsers only")
    given = parser.parse_args()
    if not MANIFEST.is_file():
        print(f"Skipped: there are no files to read at {MANIFEST.parent.name!r} beside the repository.")
        return 0
    cases = [case for case in load_cases(MANIFEST) if not given.only or given.only in case.name]
    cases.sort(key=lambda case: -case.path.stat().st_size)  # the longest must not begin last
    readers = {"Alioth": list(_ours(cases))}
    if not given.no_compare:
        readers["markitdown"] = list(_plain("markitdown", cases))
        readers["pypdf"] = list(_plain("pypdf", [case for case in cases if case.group == "PDF"]))
    report = {name: {group: asdict(row) for group, row in figures(rows).items()} for name, rows in readers.items()}
    lost = missed(readers["Alioth"])
    for (name, piece), why in NOT_SHOWN.items():
        if piece in lost.get(name, ()):
            lost[name].remove(piece)
            print(f"not looked for in {name}: {piece!r} {why}")
    for name, pieces in lost.items():
        if not pieces:
            continue
        print(f"not found in {name}: {pieces}")
    for result in readers["Alioth"]:
        if result.refusal:
            print(f"refused: {result.refusal}")
    print(json.dumps(report, indent=1))
    if not given.only and not given.no_compare:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 1 if any(set(pieces) & set(_case(cases, name).easy) for name, pieces in lost.items()) else 0


def _case(cases: Sequence[FileCase], name: str) -> FileCase:
    return next(case for case in cases if case.name == name)


def _ours(cases: Sequence[FileCase]) -> Iterator[FileResult]:
    folders = [MANIFEST.parent, Path(tempfile.gettempdir())]
    with ParserPool(IngestSettings(), WORKERS, readable=folders) as pool, ThreadPoolExecutor(WORKERS) as threads:
        yield from threads.map(lambda case: _read(pool, case), cases)


def _read(pool: ParserPool, case: FileCase) -> FileResult:
    try:
        with case.path.open("rb") as file:
            if archive_kind(file, case.path.name) is not None:
                return FileResult(case, "\n".join(_members(pool, file, case.path.name)))
        return FileResult(case, text_of(pool.parse(case.path, case.path.name)))
    except AliothError as error:
        return FileResult(case, "", error.message, error.code)


def _members(pool: ParserPool, file: BinaryIO, name: str) -> Iterator[str]:
    """Texts of the documents in an archive."""
    for member in unpack_apart(file, name, IngestSettings()):
        if isinstance(member, Member):
            with tempfile.NamedTemporaryFile() as target, contextlib.suppress(DocumentError):
                shutil.copyfileobj(member.file, target)
                target.flush()
                yield f"{member.path}\n{text_of(pool.parse(Path(target.name), member.path))}"


def text_of(parsed: ParsedDocument) -> str:
    """Everything that was read, title and metadata included."""
    blocks = "\n".join(f"{block.header}\n{block.text}" for block in parsed.blocks)
    return "\n".join([parsed.title, *parsed.metadata.values(), blocks])


def _plain(reader: str, cases: Sequence[FileCase]) -> Iterator[FileResult]:
    """The same files by a plain reader in an environment of its own; what it said of a file before holds."""
    python = _environment()
    kept = PLAIN / f"{reader}.jsonl"
    known = dict(map(json.loads, kept.read_text("utf-8").splitlines())) if kept.is_file() else {}
    with kept.open("a", encoding="utf-8") as target:
        for case, reply in _replies(python, reader, [case for case in cases if _stamp(case) not in known]):
            known[_stamp(case)] = reply
            target.write(json.dumps([_stamp(case), reply]) + "\n")
    for case in cases:
        reply = known[_stamp(case)]
        yield FileResult(case, reply.get("text", ""), reply.get("error", ""))


def _stamp(case: FileCase) -> str:
    found = case.path.stat()
    return f"{case.name} {found.st_size} {found.st_mtime_ns}"


def _replies(python: Path, reader: str, cases: Sequence[FileCase]) -> Iterator[tuple[FileCase, dict[str, str]]]:
    if not cases:
        return
    command = [str(python), str(ROOT / "scripts" / "plain_readers.py"), reader]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdin is not None and child.stdout is not None
        for case in cases:
            child.stdin.write(f"{case.path}\n")
            child.stdin.flush()
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(f"{reader} ended at {case.name!r}.")
            yield case, json.loads(line)


def _environment() -> Path:
    python = PLAIN / "bin" / "python"
    stamp = PLAIN / "packages.txt"
    wanted = "\n".join(PLAIN_PACKAGES)
    if not (stamp.is_file() and stamp.read_text() == wanted):
        shutil.rmtree(PLAIN, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([str(uv), "venv", "--quiet", "--python", sys.executable, str(PLAIN)], check=True)
        subprocess.run([str(uv), "pip", "install", "--quiet", "--python", str(python), *PLAIN_PACKAGES], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    raise SystemExit(main())
