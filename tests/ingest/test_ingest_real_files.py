"""Real and hostile files from beside the repository, through real parser processes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import DocumentError
from core.settings import IngestSettings
from core.text import fold
from core.types import ParsedDocument
from ingest import parser_pool
from ingest.parser_pool import ParserPool
from ingest.parsers import EXTENSIONS
from ingest.sniff import extension_of

NOT_READ = {"tika/testWORD_2006ml.docx"}
"""It expects a prompt that stands in Word's list of placeholders only; the field in the document shows a date."""


def squeezed(text: str) -> str:
    return re.sub(r"[\s|]+", "", fold(text))


def words_of(parsed: ParsedDocument) -> str:
    return squeezed(parsed.title + "".join(f"{block.header} {block.text}" for block in parsed.blocks))


@pytest.fixture(scope="module")
def plain_parsers() -> Iterator[ParserPool]:
    """Two parser processes without OCR, which costs seconds per page and has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parser_pool, "OCR_SHARE", 0)
        with ParserPool(IngestSettings(parse_timeout_s=60), 2) as pool:
            yield pool


def parsed_or_error(pool: ParserPool, path: Path) -> ParsedDocument | DocumentError:
    try:
        return pool.parse(path, path.name)
    except DocumentError as error:
        return error


def test_hostile_files_end_parsed_or_with_a_clear_error(plain_parsers: ParserPool, evaluation_files: Path) -> None:
    root = evaluation_files / "hostile"
    entries = [json.loads(line) for line in (root / "MANIFEST.jsonl").read_text().splitlines()]
    entries = [e for e in entries if e["category"] != "encodings_real" and (root / e["path"]).is_file()]
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda entry: parsed_or_error(plain_parsers, root / entry["path"]), entries))
    wrong = []
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, DocumentError):
            if Path(entry["path"]).name not in result.message or not result.hint:
                wrong.append((entry["path"], result.message))
            continue
        text = words_of(result)
        readable = extension_of(entry["path"]) in EXTENSIONS
        expected = [] if "bidi" in entry["path"] else entry.get("text", [])
        if readable and not all(squeezed(piece) in text for piece in expected):
            wrong.append((entry["path"], text[:80]))
        if "\x00" in text or any(squeezed(piece) in text for piece in entry.get("must_not", [])):
            wrong.append((entry["path"], "forbidden text"))
    assert wrong == []


@pytest.mark.parametrize("folder", ["zh_rageval_dev/raw_mixed", "en_multicorp_dev/raw_mixed"])
def test_a_third_of_the_mixed_files_is_read_and_has_a_title(
    plain_parsers: ParserPool, evaluation_files: Path, folder: str
) -> None:
    files = sorted(path for path in (evaluation_files / folder).rglob("*") if path.is_file())[::3]
    assert files
    for path in files:
        parsed = plain_parsers.parse(path, path.name)
        assert parsed.title and sum(len(block.text) for block in parsed.blocks) > 200, path.name


def test_mixed_chinese_files_hold_the_words_of_their_documents(
    plain_parsers: ParserPool, evaluation_files: Path
) -> None:
    root = evaluation_files / "zh_rageval_dev"
    files = json.loads((root / "files.json").read_text())
    documents = [json.loads(line) for line in (root / "documents.jsonl").read_text().splitlines()]
    for document in documents:
        path = root / "raw_mixed" / files[document["doc_id"]]
        text = re.sub(r"\W", "", words_of(plain_parsers.parse(path, path.name)))
        sentences = [re.sub(r"\W", "", fold(part)) for part in re.split(r"[。！？\n]", document["text"])]
        sentences = [sentence for sentence in sentences if len(sentence) > 8]
        found = sum(sentence in text for sentence in sentences)
        assert found >= 0.97 * len(sentences), (path.name, found, len(sentences))


def test_files_of_other_projects_give_the_words_they_are_known_to_hold(
    plain_parsers: ParserPool, evaluation_files: Path
) -> None:
    root = evaluation_files / "files"
    missing = []
    entries = [json.loads(line) for line in (root / "MANIFEST.jsonl").read_text().splitlines()]
    easy = [e for e in entries if e.get("expect_easy") and extension_of(e["path"]) in EXTENSIONS]
    assert len(easy) > 10
    for entry in easy:
        result = parsed_or_error(plain_parsers, root / entry["path"])
        text = "" if isinstance(result, DocumentError) else words_of(result)
        if not all(squeezed(piece) in text for piece in entry["expect_easy"]):
            missing.append(entry["path"])
    assert set(missing) <= NOT_READ
