"""How much of real files the parsers recover: known strings and the words of a reference text."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import InputError
from core.text import fold

_WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff\uf900-\ufaff]")
_MARKUP = re.compile(r"<!--.*?-->|<[^>\n]*>|&[a-z]+;|!?\[([^\]\n]*)\]\([^)\n]*\)", re.DOTALL)
_GROUPS = {
    "PDF": ("pdf",),
    "Word": ("docx", "docm", "dotx", "doc", "dot", "wps", "odt", "rtf", "pages"),
    "Slides": ("pptx", "pptm", "ppt", "odp", "key"),
    "Sheets": ("xlsx", "xlsm", "xlsb", "xls", "ods", "csv", "numbers"),
    "Web and books": ("html", "htm", "xhtml", "mhtml", "epub"),
    "Text and data": ("txt", "md", "rst", "asciidoc", "org", "json", "xml", "ics"),
    "Mail": ("eml", "msg", "mbox"),
    "Pictures": ("png", "jpg", "jpeg", "tiff", "tif", "bmp", "webp", "gif"),
}


REASONS = {
    "empty": "no text in it",
    "encrypted": "under a password",
    "unsupported": "type not read",
    "unreadable": "damaged",
    "too_large": "over a limit",
    "archive": "archive of nothing that is read",
    "other": "other",
}
"""Why a file gave no text, by the code of its error."""


@dataclass(frozen=True, slots=True)
class FileCase:
    """A file and what is known of it. easy, expected: strings it holds. reference: its text as Markdown, or empty."""

    path: Path
    name: str
    group: str
    easy: tuple[str, ...] = ()
    expected: tuple[str, ...] = ()
    reference: str = ""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What came of a file. text: all that was read, empty when it was refused. refusal, code: the reason then."""

    case: FileCase
    text: str
    refusal: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Counts of one group of files; shares are 0–1, None where nothing is known to compare with.

    refused: files without any text, by reason (a key of REASONS).
    """

    files: int
    read: int
    easy: float | None
    expected: float | None
    recall: float | None
    refused: dict[str, int] = field(default_factory=dict)


def load_cases(manifest: Path) -> list[FileCase]:
    """The files of a manifest (JSON Lines with path, expect, expect_easy, groundtruth) that are there.

    Raises:
        InputError: a line is no JSON object with a path.
    """
    cases = []
    for number, line in enumerate(manifest.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            path = manifest.parent / row["path"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"Line {number} of {str(manifest)!r} is not a file: {line[:80]!r}.", 'Each line is {"path": …}.'
            ) from error
        if not path.is_file():
            continue
        truth = manifest.parent / row["groundtruth"] if row.get("groundtruth") else None
        cases.append(
            FileCase(
                path=path,
                name=row["path"],
                group=group_of(row["path"]),
                easy=tuple(row.get("expect_easy", ())),
                expected=tuple(row.get("expect", ())),
                reference=truth.read_text("utf-8", errors="replace") if truth and truth.is_file() else "",
            )
        )
    return cases


def group_of(name: str) -> str:
    """The group of a file by its extension."""
    extension = name.rpartition(".")[2].lower()
    return next((group for group, extensions in _GROUPS.items() if extension in extensions), "Other")


def holds(text: str, piece: str) -> bool:
    """Whether a text holds a string, as search compares: wherever lines were broken, in small or large letters."""
    return _squeezed(piece) in _squeezed(text)


def _squeezed(text: str) -> str:
    return re.sub(r"[\s|]+", "", fold(text))


def token_recall(reference: str, text: str) -> float | None:
    """Share of the words (Chinese: characters) of a reference that the text holds, counted with repetition.

    Markup of the reference (tags, link targets) does not count. None when it has no words.
    """
    wanted = Counter(_words(_MARKUP.sub(r" \1 ", reference)))
    if not wanted:
        return None
    return (wanted & Counter(_words(text))).total() / wanted.total()


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def figures(results: Iterable[FileResult]) -> dict[str, GroupFigures]:
    """Figures by group, in the order of the groups, and `All` at the end."""
    known = list(results)
    order = [*_GROUPS, "Other"]
    groups = {group: [result for result in known if result.case.group == group] for group in order}
    return {group: _figures(members) for group, members in [*groups.items(), ("All", known)] if members}


def _figures(results: Sequence[FileResult]) -> GroupFigures:
    easy = [holds(result.text, piece) for result in results for piece in result.case.easy]
    expected = [holds(result.text, piece) for result in results for piece in result.case.expected]
    recalls = [token_recall(result.case.reference, result.text) for result in results if result.case.reference]
    known = [recall for recall in recalls if recall is not None]
    return GroupFigures(
        files=len(results),
        read=sum(1 for result in results if result.text.strip()),
        easy=_mean(easy),
        expected=_mean(expected),
        recall=_mean(known),
        refused=dict(Counter(_reason(result) for result in results if not result.text.strip())),
    )


def _reason(result: FileResult) -> str:
    return result.code if result.code in REASONS else "archive" if not result.refusal else "other"


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def missed(results: Iterable[FileResult]) -> dict[str, list[str]]:
    """Known strings that were not found, easy ones first, by file."""
    out: dict[str, list[str]] = {}
    for result in results:
        pieces = dict.fromkeys((*result.case.easy, *result.case.expected))
        lost = [piece for piece in pieces if not holds(result.text, piece)]
        if lost:
            out[result.case.name] = lost
    return out
