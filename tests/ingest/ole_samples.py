"""OLE containers and Outlook messages, made in code."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_SENT = (datetime(2024, 7, 1, 1, 30) - datetime(1601, 1, 1)) // timedelta(microseconds=1) * 10
"""When each message was sent, in steps of 100 ns from 1601."""

Tree = Mapping[str, "bytes | Tree"]


@dataclass
class _Entry:
    name: str
    kind: int
    start: int = _END
    size: int = 0
    children: list[int] = field(default_factory=list)


class _Writer:
    """Small streams go to the mini stream, large ones to sectors of their own, as the format demands."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.sectors: list[bytes] = []
        self.fat: list[int] = []
        self.mini = b""
        self.mini_fat: list[int] = []

    def add(self, name: str, content: bytes | Tree) -> int:
        number = len(self.entries)
        entry = _Entry(name, 2 if isinstance(content, bytes) else 1)
        self.entries.append(entry)
        if isinstance(content, bytes):
            entry.size = len(content)
            entry.start = self._large(content) if len(content) >= 4096 else self._small(content)
        else:
            entry.children = [self.add(key, value) for key, value in content.items()]
        return number

    def _small(self, data: bytes) -> int:
        if not data:
            return _END
        first, count = len(self.mini_fat), -(-len(data) // 64)
        self.mini += data.ljust(count * 64, b"\0")
        self.mini_fat += [*range(first + 1, first + count), _END]
        return first

    def _large(self, data: bytes) -> int:
        if not data:
            return _END
        first, count = len(self.sectors), -(-len(data) // 512)
        self.sectors += [data[at : at + 512].ljust(512, b"\0") for at in range(0, len(data), 512)]
        self.fat += [*range(first + 1, first + count), _END]
        return first

    def finish(self) -> bytes:
        root = self.entries[0]
        root.kind, root.start, root.size = 5, self._large(self.mini), len(self.mini)
        mini_fat = self._large(struct.pack(f"<{len(self.mini_fat)}I", *self.mini_fat)) if self.mini_fat else _END
        directory = self._large(b"".join(self._record(number) for number in range(len(self.entries))))
        place = len(self.sectors)
        self.fat.append(_FAT)
        table = struct.pack(f"<{len(self.fat)}I", *self.fat)
        assert len(table) <= 512, "samples stay small"
        self.sectors.append(table.ljust(512, b"\xff"))
        head = (
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
        )
        head += struct.pack("<IIIII", 0, 1, directory, 0, 4096)
        head += struct.pack("<IIII", mini_fat, 1 if self.mini_fat else 0, _END, 0) + struct.pack("<I", place)
        return head.ljust(512, b"\xff") + b"".join(self.sectors)

    def _record(self, number: int) -> bytes:
        entry = self.entries[number]
        name = entry.name.encode("utf-16-le") + b"\0\0"
        siblings = next((e.children for e in self.entries if number in e.children), [])
        right = siblings[siblings.index(number) + 1] if number in siblings[:-1] else _FREE
        child = entry.children[0] if entry.children else _FREE
        record = name.ljust(64, b"\0") + struct.pack("<HBB", len(name), entry.kind, 1)
        record += struct.pack("<III", _FREE, right, child) + b"\0" * 36
        return record + struct.pack("<IQ", entry.start, entry.size)


def ole(tree: Tree) -> bytes:
    """A container with these streams (bytes) and storages (mappings)."""
    writer = _Writer()
    writer.add("Root Entry", tree)
    return writer.finish()


def outlook(
    texts: Mapping[str, str],
    attachments: Sequence[tuple[str, bytes]] = (),
    binary: Mapping[str, bytes] | None = None,
    code_page: int = 0,
) -> bytes:
    """A message: properties by their number in hex; with a code page they are eight-bit strings."""
    return ole(message_tree(texts, attachments, binary, code_page))


def message_tree(
    texts: Mapping[str, str],
    attachments: Sequence[tuple[str, bytes]] = (),
    binary: Mapping[str, bytes] | None = None,
    code_page: int = 0,
    inside: bool = False,
    nested: Mapping[str, Tree] | None = None,
) -> dict[str, bytes | Tree]:
    """The same as a tree. inside: for a message inside another. nested: attached messages by name."""
    tree: dict[str, bytes | Tree] = {"__nameid_version1.0": {}} if not inside else {}
    fixed = struct.pack("<HHIQ", 0x40, 0x39, 6, _SENT)
    if code_page:
        fixed += struct.pack("<HHIQ", 3, 0x3FFD, 6, code_page)
    for tag, text in texts.items():
        raw = text.encode(f"cp{code_page}") if code_page else text.encode("utf-16-le")
        tree[f"__substg1.0_{tag}{'001E' if code_page else '001F'}"] = raw
    for tag, data in (binary or {}).items():
        tree[f"__substg1.0_{tag}0102"] = data
    tree["__properties_version1.0"] = b"\0" * (24 if inside else 32) + fixed
    for number, (name, data) in enumerate(attachments):
        tree[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": b"\0" * 8,
            "__substg1.0_3707001F": name.encode("utf-16-le"),
            "__substg1.0_37010102": data,
        }
    for number, (name, inner) in enumerate((nested or {}).items(), len(attachments)):
        tree[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": b"\0" * 8,
            "__substg1.0_3001001F": name.encode("utf-16-le"),
            "__substg1.0_3701000D": inner,
        }
    return tree
