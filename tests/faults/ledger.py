"""What must be there afterwards: the test's own account of every operation, kept beside the product's."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("note", "note", "note", "sections", "sections", "table", "page", "long", "broken", "empty")
_STOCK = ("report", "annual", "valve", "pump", "order", "depot", "clerk", "signed", "archive", "shelf", "invoice")
UNREADABLE = frozenset({"broken", "empty"})


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes of a file. words: each stands in the text of these bytes and of no others."""

    number: int
    kind: str
    suffix: str
    words: tuple[str, ...]
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def readable(self) -> bool:
        return self.kind not in UNREADABLE

    def write(self, folder: Path) -> Path:
        path = folder / f"content-{self.number}{self.suffix}"
        path.write_bytes(self.data)
        return path


def make_content(number: int, rng: random.Random, kind: str | None = None) -> Content:
    """A file of a random kind; most are small, some have hundreds of chunks, some cannot be read."""
    kind = kind or rng.choice(KINDS)
    parts = {"sections": rng.randint(3, 8), "table": 12, "long": rng.randint(40, 120)}.get(kind, 1)
    words = tuple(f"uq{number}x{part}z" for part in range(parts))
    sentences = [f"The {word} is kept in room {rng.randint(1, 999)}. {_padding(rng, 12)}" for word in words]
    if kind == "note":
        return Content(number, kind, ".txt", words, sentences[0].encode())
    if kind in ("sections", "long"):
        pairs = zip(words, sentences, strict=True)
        sections = [f"## Section {word}\n\n{text}\n\n{_padding(rng, 90)}\n" for word, text in pairs]
        return Content(number, kind, ".md", words, "\n".join(sections).encode())
    if kind == "table":
        rows = "".join(f"{word},{rng.randint(1, 999)},room\n" for word in words)
        return Content(number, kind, ".csv", words, f"name,number,place\n{rows}".encode())
    if kind == "page":
        body = f"<html><head><title>Page</title></head><body><h1>Page</h1><p>{sentences[0]}</p></body></html>"
        return Content(number, kind, ".html", words, body.encode())
    if kind == "broken":
        return Content(number, kind, ".pdf", (), b"%PDF-1.7\n" + str(number).encode() + rng.randbytes(200))
    return Content(number, kind, ".txt", (), bytes(b" \t"[int(digit)] for digit in f"{number:b}"))


def _padding(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(_STOCK) for _ in range(count)).capitalize() + "."


@dataclass
class Expected:
    """What may be at a path. newest: numbers of contents of which one must be; None for no document.

    given_up: it kills who reads it, so it must be failed.
    """

    newest: set[int | None] = field(default_factory=lambda: {None})
    ever: set[int] = field(default_factory=set)
    given_up: bool = False


class Ledger:
    """Paths of one collection and what each may hold."""

    def __init__(self) -> None:
        self.contents: dict[int, Content] = {}
        self.paths: dict[str, Expected] = {}

    def know(self, content: Content) -> None:
        self.contents[content.number] = content

    def at(self, path: str) -> Expected:
        return self.paths.setdefault(path, Expected())

    def done(self, path: str, result: int | None, acknowledged: bool) -> None:
        """An operation ended, or its process died before it said so: then both is right, done and not done."""
        expected = self.at(path)
        if acknowledged:
            expected.newest = {result}
        else:
            expected.newest.add(result)
        if result is not None:
            expected.ever.add(result)

    def gave_up(self, path: str) -> None:
        """It must end as failed, although its bytes could be read."""
        self.at(path).given_up = True

    def cancelled(self, path: str) -> None:
        """Whatever was under way was taken back, or had come to its end just before."""
        expected = self.at(path)
        expected.newest |= {*expected.ever, None}

    def raced(self, path: str, results: list[tuple[int | None, bool]]) -> None:
        """Several processes did something to one path at once: whichever came last holds."""
        expected = self.at(path)
        if not any(acknowledged for _, acknowledged in results):
            expected.newest |= {result for result, _ in results}
        else:
            expected.newest = {result for result, _ in results}
        expected.ever |= {result for result, _ in results if result is not None}
