"""EPUB: the chapters in reading order, each through the parser of web pages."""

from __future__ import annotations

import posixpath
import zipfile
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from core.errors import EncryptedError, UnreadableError
from core.types import Block, BlockKind, ParsedDocument, Problem
from ingest.archive import check_expansion
from ingest.parsers.enclosed import Gathered, file_of
from ingest.parsers.registry import PARSERS, Parser, Source, register
from ingest.parsers.xml_tree import name_of, tree_of, words

MAX_CHAPTERS = 3000
MAX_PART = 50_000_000
"""Bytes of one chapter once unpacked."""
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document")
_FACTS = {
    "creator": "author",
    "date": "created",
    "publisher": "publisher",
    "language": "language",
    "subject": "subject",
}
_CONTAINER = "META-INF/container.xml"
_DAMAGED = (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError, KeyError)


def parse(source: Source) -> ParsedDocument:
    """Blocks chapter by chapter; headings of the pages lead, else the name from the table of contents.

    Raises:
        EncryptedError: copy protection. UnreadableError: the container or its package file is damaged.
        DocumentTooLargeError: it unpacks to too much.
    """
    check_expansion(source.path, source.name, source.limits.max_expanded_bytes)
    try:
        with zipfile.ZipFile(source.path) as archive:
            return _Book(archive, source).read()
    except _DAMAGED as error:
        raise _damaged(source.name) from error


def _damaged(name: str) -> UnreadableError:
    return UnreadableError(
        f"Cannot read {name!r}: the EPUB's container is damaged.", "Download or export the book again."
    )


class _Book:
    """One open archive. Members are read by the names the archive lists, never written anywhere by name."""

    def __init__(self, archive: zipfile.ZipFile, source: Source) -> None:
        self._archive = archive
        self._source = source
        self._names = {name.lower(): name for name in archive.namelist()}
        self._gathered = Gathered()
        self._problems: list[Problem] = []

    def read(self) -> ParsedDocument:
        package_name = self._package_name()
        package = tree_of(self._bytes(package_name), self._problems)
        if package is None:
            raise _damaged(self._source.name)
        self._refuse_protected()
        base = posixpath.dirname(package_name)
        items = {e.get("id", ""): e for e in package.iter() if name_of(e) == "item"}
        spine = [items.get(e.get("idref", "")) for e in package.iter() if name_of(e) == "itemref"]
        chapters = [item for item in spine if item is not None and item.get("media-type", _PAGES[0]) in _PAGES]
        if not chapters:  # no reading order: every page, as listed
            chapters = [item for item in items.values() if item.get("media-type") in _PAGES]
        names = self._contents(package, items, base)
        for item in chapters[:MAX_CHAPTERS]:
            if "nav" not in (item.get("properties") or "").split():
                self._chapter(_inside(base, item.get("href", "")), names)
        if len(chapters) > MAX_CHAPTERS:
            self._problems.append(Problem("cut_off", f"Only the first {MAX_CHAPTERS} chapters were read."))
        title, metadata = _facts(package)
        return ParsedDocument(
            blocks=tuple(self._gathered.blocks),
            media_type="application/epub+zip",
            title=title,
            problems=(*self._problems, *self._gathered.problems),
            metadata=metadata,
            reading=self._gathered.reading(),
        )

    def _package_name(self) -> str:
        if _CONTAINER.lower() in self._names:
            root = tree_of(self._bytes(_CONTAINER), [])
            for element in root.iter() if root is not None else ():
                path = element.get("full-path") if name_of(element) == "rootfile" else None
                if path and path.lower() in self._names:
                    return str(path)
        found = [name for low, name in self._names.items() if low.endswith(".opf")]
        if not found:
            raise _damaged(self._source.name)
        return found[0]

    def _refuse_protected(self) -> None:
        """Fonts may be obfuscated; a book whose pages are encrypted cannot be read."""
        if "meta-inf/encryption.xml" not in self._names:
            return
        root = tree_of(self._bytes("META-INF/encryption.xml"), [])
        uris = [e.get("URI", "") for e in root.iter() if name_of(e) == "CipherReference"] if root is not None else []
        if any(unquote(uri).lower().endswith((".xhtml", ".html", ".htm", ".xml", ".opf")) for uri in uris):
            raise EncryptedError(
                f"Cannot ingest {self._source.name!r}: the book is copy-protected.", "Add an unprotected copy."
            )

    def _bytes(self, name: str) -> bytes:
        """A member's content; KeyError when there is none, ValueError when it is over MAX_PART."""
        member = self._archive.getinfo(self._names[name.lower()])
        with self._archive.open(member) as file:
            data = file.read(MAX_PART + 1)
        if len(data) > MAX_PART:
            raise ValueError("part too large")
        return data

    def _chapter(self, name: str, names: dict[str, str]) -> None:
        try:
            data = self._bytes(name)
        except _DAMAGED:
            message = f"The chapter {name.rsplit('/', 1)[-1]!r} is missing or damaged and was left out."
            self._problems.append(Problem("unreadable_page", message))
            return
        with file_of(data) as path:
            page = PARSERS["html"].parse(replace(self._source, path=path, depth=self._source.depth + 1))
        if not page.blocks:
            return
        heading = names.get(name.lower(), "")
        first = next((block for block in page.blocks[:3] if block.kind is BlockKind.HEADING), None)
        if heading and first is None:
            self._gathered.add([Block(BlockKind.HEADING, heading, level=1)])
        self._gathered.absorb(page, keep_places=False)

    def _contents(self, package: Any, items: dict[str, Any], base: str) -> dict[str, str]:
        """Names of chapters by member name, from the EPUB 3 navigation page or the EPUB 2 `.ncx`."""
        names: dict[str, str] = {}
        for item in items.values():
            nav = "nav" in (item.get("properties") or "").split()
            if not nav and item.get("media-type") != "application/x-dtbncx+xml":
                continue
            path = _inside(base, item.get("href", ""))
            try:
                root = tree_of(self._bytes(path), [])
            except _DAMAGED:
                continue
            for label, target in _entries(root) if root is not None else ():
                place = _inside(posixpath.dirname(path), target).lower()
                if label and place not in names:
                    names[place] = label[:200]
        return names


def _entries(root: Any) -> list[tuple[str, str]]:
    """(name, target) of the entries of a table of contents."""
    out = []
    for element in root.iter():
        if name_of(element) == "a" and element.get("href"):
            out.append((words(element), element.get("href")))
        elif name_of(element) == "navPoint":
            label = next((words(e) for e in element.iter() if name_of(e) == "text"), "")
            target = next((e.get("src", "") for e in element.iter() if name_of(e) == "content"), "")
            out.append((label, target))
    return out


def _inside(base: str, target: str) -> str:
    """Member name of a reference, seen from the folder `base`; one that climbs out names no member."""
    return posixpath.normpath(posixpath.join(base, unquote(target.split("#", 1)[0]))).lstrip("/")


def _facts(package: Any) -> tuple[str, dict[str, str]]:
    title = ""
    metadata: dict[str, str] = {}
    for element in package.iter():
        name, text = name_of(element), words(element) if name_of(element) in ("title", *_FACTS) else ""
        if name == "title" and text and not title:
            title = text
        elif name in _FACTS and text:
            key = _FACTS[name]
            metadata[key] = f"{metadata[key]}, {text}"[:1000] if key in metadata and key == "author" else text[:1000]
    return title, metadata


register(Parser("epub", "EPUB", ("epub",), "application/epub+zip", parse))
