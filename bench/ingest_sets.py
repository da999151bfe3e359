"""Folders of files to read in: texts as Markdown, plain text and CSV, Office sets, and thousands of small files."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "eval"
OFFICE = {
    "mixed English files (en_multicorp_dev)": SHARED / "en_multicorp_dev" / "raw_mixed",
    "mixed Chinese files (zh_rageval_dev)": SHARED / "zh_rageval_dev" / "raw_mixed",
    "PDF files with scans (files/docling)": SHARED / "files" / "docling",
    "Markdown files and pictures (en_gitlab_handbook)": SHARED / "en_gitlab_handbook" / "raw",
}
SMALL_CHARS = 1200
"""Characters of one of the thousands of small files."""
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class TextSet:
    """A set whose files hold text only. make: writes them into a folder, at most so many."""

    name: str
    make: Callable[[Path, int], None]


def text_sets() -> list[TextSet]:
    """Those whose texts are on this machine."""
    both = [("en_rageval_dev", "English"), ("zh_rageval_dev", "Chinese")]
    sets = [TextSet("Markdown, English (en_gitlab_handbook)", _markdown)] if _handbook().is_dir() else []
    for name, language in both:
        if _documents_file(name).is_file():
            sets.append(TextSet(f"plain text, {language} ({name})", _plain_text(name)))
            sets.append(TextSet(f"Markdown, {language} ({name})", _sections(name)))
            sets.append(TextSet(f"CSV, {language} ({name})", _rows(name)))
    return sets


def office_files(folder: Path, target: Path, most: int) -> None:
    """At most so many files of a folder, spread over it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files[:: max(1, len(files) // most)][:most]:
        shutil.copy(path, target / f"{path.parent.name}-{path.name}")


def many_files(target: Path, count: int) -> int:
    """Small text files, Chinese and English in turn: real paragraphs again and again, each time with other numbers.

    Gives their characters.
    """
    texts = _small_texts()
    total = 0
    for number in range(count):
        text = renumbered(texts[number % len(texts)], number)
        folder = target / f"{number // 1000:03d}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number:06d}.txt").write_text(text, encoding="utf-8")
        total += len(text)
    return total


def large_file(target: Path, megabytes: int) -> int:
    """One text of that size, made the same way. Gives its characters."""
    texts = _small_texts()
    size = characters = number = 0
    with (target / "large.txt").open("w", encoding="utf-8") as stream:
        while size < megabytes * 1_000_000:
            text = renumbered(texts[number % len(texts)], number) + "\n\n"
            stream.write(text)
            size, characters, number = size + len(text.encode()), characters + len(text), number + 1
    return characters


def renumbered(text: str, number: int) -> str:
    """The text with other numbers, and a first line that no other has: not one chunk is the same again."""
    changed = _NUMBER.sub(lambda found: str(int(found.group()[:9]) + number), text)
    return f"{number} / {number * 7919 % 100_003}\n\n{changed}"


def _small_texts() -> list[str]:
    """Beginnings of real documents, one English and one Chinese in turn."""
    english = [text[:SMALL_CHARS] for name in ("en_multicorp_dev", "en_mtrag_dev") for _, text in _documents(name)]
    chinese = [text[: SMALL_CHARS // 3] for name in ("zh_lawdocs_dev", "zh_cmrc") for _, text in _documents(name)]
    pairs = zip(english, chinese, strict=False)
    return [text for pair in pairs for text in pair] or [*english, *chinese]


def _markdown(target: Path, most: int) -> None:
    files = sorted(_handbook().rglob("*.md"))[:most]
    for place, path in enumerate(files):
        shutil.copy(path, target / f"{place:03d}-{path.name}")


def _plain_text(name: str) -> Callable[[Path, int], None]:
    def make(target: Path, most: int) -> None:
        for place, (title, text) in enumerate(_some(name, most)):
            (target / f"{place:03d}.txt").write_text(f"{title}\n\n{text}\n", encoding="utf-8")

    return make


def _sections(name: str) -> Callable[[Path, int], None]:
    """A heading over every fifth paragraph."""

    def make(target: Path, most: int) -> None:
        for place, (title, text) in enumerate(_some(name, most)):
            lines = [line for line in text.split("\n") if line.strip()]
            parts = [f"# {title}"]
            for start in range(0, len(lines), 5):
                parts += [f"## {lines[start][:40]}", *lines[start : start + 5]]
            (target / f"{place:03d}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")

    return make


def _rows(name: str) -> Callable[[Path, int], None]:
    """A row for every paragraph."""

    def make(target: Path, most: int) -> None:
        for place, (title, text) in enumerate(_some(name, most)):
            with (target / f"{place:03d}.csv").open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(["number", "subject", "text"])
                rows: Sequence[str] = [line for line in text.split("\n") if line.strip()]
                writer.writerows([number, title, line] for number, line in enumerate(rows, 1))

    return make


def _some(name: str, most: int) -> Iterator[tuple[str, str]]:
    for place, document in enumerate(_documents(name)):
        if place < most:
            yield document


def _documents(name: str) -> Iterator[tuple[str, str]]:
    """Title and text of each."""
    file = _documents_file(name)
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield row["title"], row["text"]


def _documents_file(name: str) -> Path:
    return SHARED / name / "documents.jsonl"


def _handbook() -> Path:
    return SHARED / "en_gitlab_handbook" / "raw"
