"""The source text of macros in Office files (VBA) and OpenDocument files (Basic), as code; nothing is ever run."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from core.types import Block, BlockKind

_MOST = 200
_LARGEST = 20_000_000
_LIBRARIES = ("script-lb.xml", "script-lc.xml", "dialog-lb.xml", "dialog-lc.xml")
_BEGINNING = b"\x00Attribut"
"""What every module's packed text begins with, after the signature and the head of its first chunk."""
_DAMAGE = (OSError, ValueError, IndexError, OverflowError, KeyError, RuntimeError, NotImplementedError)


def macro_blocks(path: Path) -> list[Block]:
    """A heading and the code of each module with lines of its own; empty for a file without macros."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = list(_modules(archive))
    except (zipfile.BadZipFile, *_DAMAGE):
        return []
    blocks: list[Block] = []
    for name, code in found[:_MOST]:
        if code.strip():
            blocks.append(Block(BlockKind.HEADING, f"Macro {name}", level=2))
            blocks.append(Block(BlockKind.CODE, code.strip("\r\n")))
    return blocks


def _modules(archive: zipfile.ZipFile) -> Iterator[tuple[str, str]]:
    for info in archive.infolist():
        name = info.filename
        if info.file_size > _LARGEST:
            continue
        if name.endswith("/vbaProject.bin"):
            yield from _vba(archive.read(info))
        elif name.startswith("Basic/") and name.endswith(".xml") and not name.endswith(_LIBRARIES):
            yield from _basic(archive.read(info), Path(name).stem)


def _basic(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        return
    yield name, "".join(root.itertext())


def _vba(data: bytes) -> Iterator[tuple[str, str]]:
    import olefile

    from ingest.decode import decode

    with olefile.OleFileIO(io.BytesIO(data)) as container:
        for entry in container.listdir():
            if len(entry) < 2 or entry[-2].upper() != "VBA":
                continue
            raw = container.openstream(entry).read()
            start = raw.find(_BEGINNING) - 3
            if start >= 0:
                lines = decode(unpacked(raw[start:])).text.splitlines()
                yield entry[-1], "\n".join(line for line in lines if not line.startswith("Attribute VB_"))


def unpacked(data: bytes) -> bytes:
    """Bytes of a compressed container of VBA (MS-OVBA 2.4.1); as much as can be read of a damaged one."""
    out = bytearray()
    at = 1
    while at + 2 <= len(data) and len(out) < _LARGEST:
        head = int.from_bytes(data[at : at + 2], "little")
        end = min(len(data), at + (head & 0x0FFF) + 3)
        at += 2
        if not head & 0x8000:
            out += data[at:end]
            at = end
            continue
        _chunk(data[at:end], out)
        at = end
    return bytes(out)


def _chunk(data: bytes, out: bytearray) -> None:
    """Tokens in groups of eight under a byte of flags: letters as they are, or copies of what came before."""
    begin, at = len(out), 0
    while at < len(data):
        flags = data[at]
        at += 1
        for bit in range(8):
            if at >= len(data):
                return
            if not flags >> bit & 1:
                out.append(data[at])
                at += 1
                continue
            token = int.from_bytes(data[at : at + 2], "little")
            at += 2
            bits = max(4, (len(out) - begin - 1).bit_length())
            back, count = (token >> (16 - bits)) + 1, (token & (0xFFFF >> bits)) + 3
            if back > len(out) - begin:
                return
            for _ in range(count):
                out.append(out[-back])
