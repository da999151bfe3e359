"""Archives become one document per member, and nothing that is in one leaves its place, its limits or the others."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import AliothError, DocumentTooLargeError, EncryptedError
from core.types import Priority
from ingest import archive_intake
from ingest.archive import archive_kind
from ingest.intake import Added
from ingest.unpack import LeftOut, Member, Refused, unpack
from storage.tables import DocumentTable, SourceTable, VersionTable, now

_spec = importlib.util.spec_from_file_location("ingest_samples", Path(__file__).with_name("samples.py"))
assert _spec is not None and _spec.loader is not None
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)
docx, zipped = samples.docx, samples.zipped

MB = 1_000_000


def tarred(members: dict[str, bytes | tarfile.TarInfo], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def found(data: bytes, name: str = "a.zip", member: int = 10 * MB, total: int = 100 * MB) -> list[tuple[str, str]]:
    """What came of each member: (path, its text or the kind of refusal)."""
    out: list[tuple[str, str]] = []
    for one in unpack(io.BytesIO(data), name, lambda path: not path.endswith(".exe"), member, total):
        if isinstance(one, Member):
            content = one.file.read()
            assert len(content) == one.size
            out.append((one.path, content.decode("utf-8", "replace")[:40]))
        elif isinstance(one, Refused):
            out.append((one.path, type(one.error).__name__))
        else:
            assert isinstance(one, LeftOut)
            out.append((one.path, "left out"))
    return out


# ---------------------------------------------------------------- what is an archive


def test_office_files_and_epub_are_never_taken_for_archives() -> None:
    word = docx(lambda document: document.add_paragraph("Text."))
    assert archive_kind(io.BytesIO(word), "report.zip") is None
    epub = zipped({"mimetype": b"application/epub+zip", "META-INF/container.xml": b"<container/>"})
    assert archive_kind(io.BytesIO(epub), "book.zip") is None
    odt = zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b"<x/>"})
    assert archive_kind(io.BytesIO(odt), "letter.zip") is None
    iwork = zipped({"Index/Document.iwa": b"\x00"})
    assert archive_kind(io.BytesIO(iwork), "x.zip") is None
    assert archive_kind(io.BytesIO(word[: len(word) // 2]), "report.docx") is None
    assert archive_kind(io.BytesIO(word[: len(word) // 2]), "report.zip") == "zip"


def test_content_decides_what_an_archive_is() -> None:
    plain = zipped({"a.txt": b"A"})
    assert archive_kind(io.BytesIO(plain), "renamed.docx") == "zip"
    assert archive_kind(io.BytesIO(zipped({"docs/[Content_Types].xml": b"", "a.txt": b""})), "x") == "zip"
    assert archive_kind(io.BytesIO(tarred({"a.txt": b"A"})), "x.bin") == "tar"
    assert archive_kind(io.BytesIO(gzip.compress(b"A")), "x") == "gz"
    assert archive_kind(io.BytesIO(bz2.compress(b"A")), "x") == "bz2"
    assert archive_kind(io.BytesIO(lzma.compress(b"A")), "x") == "xz"
    for no in (b"", b"BZh is a word", b"PK", b"plain text " * 100, b"\x00" * 1024, b"\x1f\x8b"):
        assert archive_kind(io.BytesIO(no), "a.zip") is None


def test_a_tar_of_the_old_kind_without_a_magic_is_known_by_its_checksum() -> None:
    raw = bytearray(tarred({"a.txt": b"A"}))
    raw[257:265] = b"\x00" * 8
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\x00 " % sum(raw[:512])
    assert found(bytes(raw), "a.tar") == [("a.tar/a.txt", "A")]


# ---------------------------------------------------------------- members


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("n.txt.gz", gzip.compress(b"words", mtime=0)),
        ("n.txt.bz2", bz2.compress(b"words")),
        ("n.txt.xz", lzma.compress(b"words")),
        ("n.txt.xz", lzma.compress(b"wo") + b"\x00" * 8 + lzma.compress(b"rds")),
        ("n.txt.gz", gzip.compress(b"wo", mtime=0) + gzip.compress(b"rds", mtime=0)),
    ],
)
def test_a_single_packed_file_is_called_as_the_archive_without_its_extension(name: str, packed: bytes) -> None:
    assert found(packed, name) == [(f"{name}/n.txt", "words")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_of_every_packing_give_their_members(mode: str) -> None:
    big = os.urandom(3 * MB)
    data = tarred({"a.txt": b"A", "deep/b.md": b"B", "big": big, "c.txt": b"C"}, mode)
    assert found(data, "t.tgz") == [
        ("t.tgz/a.txt", "A"),
        ("t.tgz/deep/b.md", "B"),
        ("t.tgz/big", "left out"),
        ("t.tgz/c.txt", "C"),
    ]


def test_members_that_could_leave_their_place_are_refused_one_by_one() -> None:
    names = (
        "../up.txt",
        "/etc/cron.d/x.txt",
        "..\\..\\up.txt",
        "C:\\x.txt",
        "a/../../b.txt",
        "CON.txt",
        "ok/./good.txt",
    )
    got = found(zipped({name: b"x" for name in names}))
    assert got[-1] == ("a.zip/ok/good.txt", "x")
    assert [kind for _, kind in got[:-1]] == ["InputError"] * 6
    got = found(tarred({name: b"x" for name in names}), "a.tar")
    assert [kind for _, kind in got].count("InputError") == 6


def test_links_and_devices_are_left_out() -> None:
    data = tarred(
        {
            "link.txt": special("link.txt", tarfile.SYMTYPE, "/etc/passwd"),
            "hard.txt": special("hard.txt", tarfile.LNKTYPE, "a.txt"),
            "null.txt": special("null.txt", tarfile.CHRTYPE),
            "fifo.txt": special("fifo.txt", tarfile.FIFOTYPE),
            "a.txt": b"A",
        }
    )
    assert found(data, "a.tar") == [(f"a.tar/{n}.txt", "left out") for n in ("link", "hard", "null", "fifo")] + [
        ("a.tar/a.txt", "A")
    ]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert found(out.getvalue()) == [("a.zip/link.txt", "left out")]


def test_hidden_files_and_what_systems_leave_behind_are_passed_over() -> None:
    names = (".DS_Store", "__MACOSX/._a.txt", "~$a.docx", "x/.git/config.txt", "Thumbs.db", "a.txt")
    assert found(zipped({name: b"x" for name in names})) == [("a.zip/a.txt", "x")]


def test_unknown_types_are_left_out_and_names_without_extension_are_judged_by_content() -> None:
    data = zipped({"setup.exe": b"MZ\x00", "README": b"Read me.", "core": b"\x00\x01\x02", "doc": b"%PDF-1.4 x"})
    assert found(data) == [
        ("a.zip/setup.exe", "left out"),
        ("a.zip/README", "Read me."),
        ("a.zip/core", "left out"),
        ("a.zip/doc", "%PDF-1.4 x"),
    ]


def test_of_two_members_with_one_name_the_last_is_taken_and_the_other_named() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.txt", "old")
        archive.writestr("a.txt", "new")
        archive.writestr("./a.txt", "newest")
    assert found(out.getvalue()) == [
        ("a.zip/a.txt", "ConflictError"),
        ("a.zip/a.txt", "ConflictError"),
        ("a.zip/a.txt", "newest"),
    ]


# ---------------------------------------------------------------- names


def zip_with_raw_names(names: list[bytes], flag: int = 0, extra: Callable[[bytes], bytes] | None = None) -> bytes:
    """A zip as programs write it that know nothing of UTF-8: names as bytes, no flag."""
    body, directory = b"", b""
    for name in names:
        more = extra(name) if extra else b""
        head = struct.pack("<HHHHHIIIHH", 20, flag, 0, 0, 0x21, zlib.crc32(b"x"), 1, 1, len(name), len(more))
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<HHHII", 0, 0, 0, 0, len(body))
        directory += name + more
        body += b"PK\x03\x04" + head + name + more + b"x"
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gb18030", ["报销制度.txt", "通知/关于放假的通知.txt"]),
        ("utf-8", ["报销制度.txt", "é.txt"]),
        ("cp437", ["Rechnung für März.txt", "café.txt"]),
        ("big5", ["會議紀錄與決議事項.txt", "公司報告/總結.txt"]),
        ("cp932", ["文章1.txt", "報告書.txt"]),
        ("cp932", ["ファイル一覧.txt"]),
        ("cp949", ["회의록과 보고서.txt"]),
        ("ascii", ["plain.txt"]),
    ],
)
def test_names_in_old_encodings_are_decoded_as_they_were_meant(encoding: str, names: list[str]) -> None:
    data = zip_with_raw_names([name.encode(encoding) for name in names])
    assert [path for path, _ in found(data)] == [f"a.zip/{name}" for name in names]


def test_the_utf8_flag_and_the_unicode_path_field_are_believed() -> None:
    name = "制度.txt"
    assert found(zip_with_raw_names([name.encode()], 0x800)) == [(f"a.zip/{name}", "x")]

    def field(raw: bytes) -> bytes:
        body = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + name.encode()
        return struct.pack("<HH", 0x7075, len(body)) + body

    assert found(zip_with_raw_names([b"???.txt"], 0, field)) == [(f"a.zip/{name}", "x")]


def test_backslashes_of_old_windows_programs_are_folders() -> None:
    assert found(zip_with_raw_names([b"dir\\sub\\a.txt", b"dir\\"]))[0] == ("a.zip/dir/sub/a.txt", "x")


def test_tar_names_that_are_not_utf8_are_decoded() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="gb18030") as archive:
        info = tarfile.TarInfo("报销制度和办法.txt")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert found(out.getvalue(), "a.tar") == [("a.tar/报销制度和办法.txt", "x")]


# ---------------------------------------------------------------- limits


def test_archives_inside_archives_are_unpacked_to_the_third_level() -> None:
    fourth = zipped({"d.txt": b"D"})
    third = zipped({"d.zip": fourth, "c.txt": b"C"})
    second = tarred({"c.zip": third, "b.txt": b"B"}, "w:gz")
    assert found(zipped({"b.tgz": second, "a.txt": b"A"})) == [
        ("a.zip/b.tgz/c.zip/d.zip", "DocumentTooLargeError"),
        ("a.zip/b.tgz/c.zip/c.txt", "C"),
        ("a.zip/b.tgz/b.txt", "B"),
        ("a.zip/a.txt", "A"),
    ]


def test_an_archive_over_a_limit_is_refused_as_a_whole_before_its_first_member() -> None:
    zeros = b"\x00" * (30 * MB)
    assert found(zipped({"a.txt": b"A", "z.txt": zeros})) == [("a.zip", "DocumentTooLargeError")]
    assert found(gzip.compress(zeros), "z.txt.gz") == [("z.txt.gz", "DocumentTooLargeError")]
    assert found(bz2.compress(zeros), "z.txt.bz2") == [("z.txt.bz2", "DocumentTooLargeError")]
    assert found(lzma.compress(zeros), "z.txt.xz") == [("z.txt.xz", "DocumentTooLargeError")]
    assert found(tarred({"a.txt": b"A", "z.txt": zeros}, "w:gz"), "z.tgz") == [("z.tgz", "DocumentTooLargeError")]
    noise = {f"{n}.txt": os.urandom(MB) for n in range(3)}
    assert found(zipped(noise), total=2 * MB) == [("a.zip", "DocumentTooLargeError")]
    assert found(tarred(dict(noise)), "a.tar", total=2 * MB) == [("a.tar", "DocumentTooLargeError")]


def test_too_many_members_are_refused_without_reading_them() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for n in range(10_001):
            archive.writestr(f"{n}.txt", b"")
    assert found(out.getvalue()) == [("a.zip", "DocumentTooLargeError")]


def test_what_archives_inside_give_counts_for_the_outermost() -> None:
    inner = zipped({"a.txt": b"a" * (9 * MB)})
    got = found(zipped({f"l{n}.zip": inner for n in range(5)}))
    assert ("a.zip/l4.zip", "DocumentTooLargeError") in got
    assert sum(1 for _, text in got if text.startswith("aaa")) == 2


def test_a_member_over_the_limit_costs_only_itself() -> None:
    data = zipped({"big.txt": os.urandom(2 * MB), "small.txt": b"s"})
    assert found(data, member=MB) == [("a.zip/big.txt", "DocumentTooLargeError"), ("a.zip/small.txt", "s")]


def test_a_forged_tar_header_cannot_ask_for_more_memory_than_the_file_has() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 7 * 1024**3
    data = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + b"\x00" * MB)
    assert found(data, "a.tgz") == [("a.tgz", "UnreadableError")]


def test_an_xz_cannot_ask_for_more_memory_than_the_limit() -> None:
    filters = [
        {"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 16}
    ]
    try:
        data = lzma.compress(b"x", filters=filters)
    except MemoryError:
        pytest.skip("this machine has not the memory to make the sample")
    assert found(data, "a.txt.xz") == [("a.txt.xz", "UnreadableError")]


def test_large_members_wait_on_disk_not_in_memory(tmp_path: Path) -> None:
    code = (
        "import io, resource, sys; sys.path.insert(0, sys.argv[1])\n"
        "from ingest.unpack import unpack, Member\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with open(sys.argv[2], 'rb') as file:\n"
        "    sizes = [m.size for m in unpack(file, 'a.zip', lambda n: True, 10**9, 10**9) if isinstance(m, Member)]\n"
        "print(sizes, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    block = os.urandom(MB)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, archive.open("big.txt", "w") as member:
        for _ in range(80):
            member.write(block)
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code, root, str(tmp_path / "a.zip")], capture_output=True, text=True)
    sizes, megabytes = done.stdout.rsplit(" ", 1)
    assert sizes == "[80000000]", done.stderr
    assert int(megabytes) < 40


# ---------------------------------------------------------------- locked and damaged


def test_locked_members_are_named_and_the_others_read() -> None:
    raw = bytearray(zip_with_raw_names([b"open.txt", b"locked.txt"]))
    second = raw.index(b"PK\x03\x04", 4)
    raw[second + 6] |= 1
    directory = raw.index(b"PK\x01\x02", raw.index(b"PK\x01\x02") + 4)
    raw[directory + 8] |= 1
    got = list(unpack(io.BytesIO(bytes(raw)), "a.zip", lambda name: True, MB, MB))
    assert isinstance(got[0], Member)
    assert isinstance(got[1], Refused) and isinstance(got[1].error, EncryptedError)
    assert "'locked.txt'" in got[1].error.message and got[1].error.hint


def test_a_damaged_member_costs_only_itself_and_a_cut_off_archive_is_refused() -> None:
    data = zip_with_raw_names([b"a.txt", b"b.txt"])
    broken = data.replace(b"a.txtx", b"a.txty", 1)
    assert found(broken) == [("a.zip/a.txt", "UnreadableError"), ("a.zip/b.txt", "x")]
    whole = zipped({f"{n}.txt": os.urandom(2000) for n in range(5)})
    assert found(whole[:-700]) == [("a.zip", "UnreadableError")]
    packed = tarred({f"{n}.txt": os.urandom(2000) for n in range(5)}, "w:gz")
    assert found(packed[:-700], "a.tgz") == [("a.tgz", "UnreadableError")]
    for cut in (lzma.compress(os.urandom(9000))[:-500], bz2.compress(os.urandom(9000))[:-500]):
        assert found(cut, "a.txt.xz") == [("a.txt.xz", "UnreadableError")]


def test_an_unusual_packing_is_refused_with_its_name() -> None:
    data = zip_with_raw_names([b"a.txt"])
    raw = bytearray(data)
    raw[8:10] = (93).to_bytes(2, "little")
    at = data.index(b"PK\x01\x02")
    raw[at + 10 : at + 12] = (93).to_bytes(2, "little")
    [one] = unpack(io.BytesIO(bytes(raw)), "a.zip", lambda name: True, MB, MB)
    assert isinstance(one, Refused) and "'zstandard'" in one.error.message


# ---------------------------------------------------------------- through the intake


def added(house, name: str, data: bytes, **options) -> dict[str, Added]:
    return {one.path: one for one in house.intake.add_all(house.collection, name, io.BytesIO(data), **options)}


def outcomes(house, name: str, data: bytes, **options) -> dict[str, str]:
    return {
        path: one.submission.outcome
        if one.submission
        else type(one.error).__name__
        if one.error
        else "deleted"
        if one.deleted
        else "left out"
        for path, one in added(house, name, data, **options).items()
    }


def paths(house) -> list[str]:
    return [row.path for row in house.documents.list(house.collection.id)]


def test_an_archive_becomes_documents_that_can_be_read(house) -> None:
    got = added(house, "month.zip", zipped({"a.md": b"# Alpha\n\nFirst.", "sub/b.txt": b"Second.", "x.bin": b"\x00"}))
    versions = [one.submission.version_id for one in got.values() if one.submission]
    house.pipeline().drain(threading.Event(), versions)
    assert paths(house) == ["month.zip/a.md", "month.zip/sub/b.txt"]
    assert [house.state(version) for version in versions] == ["ready", "ready"]
    assert got["month.zip/x.bin"] == Added("month.zip/x.bin")


def test_the_same_archive_again_changes_nothing_and_a_newer_one_only_what_differs(house) -> None:
    old = zipped({"same.txt": b"same", "changed.txt": b"old", "gone.txt": b"gone"})
    assert set(outcomes(house, "a.zip", old).values()) == {"new"}
    assert set(outcomes(house, "a.zip", old).values()) == {"pending"}
    new = zipped({"same.txt": b"same", "changed.txt": b"new", "fresh.txt": b"fresh"})
    assert outcomes(house, "a.zip", new) == {
        "a.zip/same.txt": "pending",
        "a.zip/changed.txt": "new",
        "a.zip/fresh.txt": "new",
        "a.zip/gone.txt": "deleted",
    }
    assert paths(house) == ["a.zip/changed.txt", "a.zip/fresh.txt", "a.zip/same.txt"]


def test_only_members_of_this_very_archive_are_deleted(house) -> None:
    for name in ("A.zip", "a.zip", "a.zipx", "b/a.zip", "a_zip"):
        added(house, name, zipped({"one.txt": name.encode(), "two.txt": b"2"}))
    added(house, "a.zip", zipped({"two.txt": b"2"}))
    assert [path for path in paths(house) if "one.txt" in path] == [
        f"{name}/one.txt" for name in ("A.zip", "a.zipx", "a_zip", "b/a.zip")
    ]


def test_what_cannot_be_opened_now_does_not_delete_what_came_out_before(house) -> None:
    inner = zipped({"x.txt": b"x"})
    added(house, "a.zip", zipped({"in.zip": inner, "b.txt": b"b"}))
    broken = zipped({"in.zip": inner[:-10], "b.txt": b"b"})
    assert outcomes(house, "a.zip", broken) == {"a.zip/in.zip": "UnreadableError", "a.zip/b.txt": "pending"}
    assert outcomes(house, "a.zip", broken[:-30]) == {"a.zip": "UnreadableError"}
    assert paths(house) == ["a.zip/b.txt", "a.zip/in.zip/x.txt"]


def test_a_refused_member_does_not_lose_the_others(house) -> None:
    house.settings = house.settings.model_copy(update={"max_file_mb": 1})
    got = added(house, "a.zip", zipped({"big.txt": os.urandom(2 * MB), "../x.txt": b"", "good.txt": b"good"}))
    assert isinstance(got["a.zip/big.txt"].error, DocumentTooLargeError)
    assert got["a.zip/good.txt"].submission is not None
    assert paths(house) == ["a.zip/good.txt"]
    kept = [path for path in (house.home / "files").rglob("*") if path.is_file()]
    assert [len(path.name) for path in kept] == [64]


def test_an_archive_and_a_plain_file_of_one_name_replace_each_other(house) -> None:
    assert outcomes(house, "a.zip", b"plain text") == {"a.zip": "new"}
    assert outcomes(house, "a.zip", zipped({"x.txt": b"x"})) == {"a.zip/x.txt": "new", "a.zip": "deleted"}
    assert outcomes(house, "a.zip", b"plain text") == {"a.zip": "new", "a.zip/x.txt": "deleted"}
    assert paths(house) == ["a.zip"]


def test_an_archive_without_documents_says_so_and_too_large_ones_are_refused(house) -> None:
    added(house, "a.zip", zipped({"x.txt": b"x"}))
    got = added(house, "a.zip", zipped({"x.bin": b"\x00"}))
    assert "holds no document" in str(got["a.zip"].error)
    assert paths(house) == ["a.zip/x.txt"]
    house.settings = house.settings.model_copy(update={"max_file_mb": 1})
    got = added(house, "b.tar", tarred({"x.txt": os.urandom(6 * MB)}))
    assert isinstance(got["b.tar"].error, DocumentTooLargeError)
    assert paths(house) == ["a.zip/x.txt"]


def test_a_source_deletes_only_its_own_members(house) -> None:
    added(house, "a.zip", zipped({"mine.txt": b"1", "both.txt": b"2"}))
    house_source = "s" * 32
    with house.db.write() as session:
        session.add(
            SourceTable(
                id=house_source,
                collection_id=house.collection.id,
                kind="folder",
                place="/x",
                options={},
                result={},
                created_at=now(),
            )
        )
    got = outcomes(house, "a.zip", zipped({"theirs.txt": b"3"}), source=house_source)
    assert got == {"a.zip/theirs.txt": "new"}
    got = outcomes(house, "a.zip", zipped({"other.txt": b"4"}), source=house_source)
    assert got == {"a.zip/other.txt": "new", "a.zip/theirs.txt": "deleted"}
    assert paths(house) == ["a.zip/both.txt", "a.zip/mine.txt", "a.zip/other.txt"]


def test_folders_give_their_archives_and_holds_knows_them(house, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.zip").write_bytes(zipped({"x.txt": b"x"}))
    (tmp_path / "in" / "b.txt").write_text("b")
    files = house.intake.scan([tmp_path / "in"])
    assert [file.logical_path for file in files] == ["a.zip", "b.txt"]
    for file in files:
        assert all(one.submission for one in house.intake.add_source(house.collection, file))
    assert house.intake.holds(house.collection, "a.zip")
    assert house.intake.holds(house.collection, "b.txt")
    assert not house.intake.holds(house.collection, "c.zip")
    (tmp_path / "in" / "b.txt").unlink()
    [gone] = house.intake.add_source(house.collection, files[1])
    assert gone.error is not None and "b.txt" in gone.error.message


def test_every_hostile_archive_ends_clearly(evaluation_files: Path) -> None:
    folder = evaluation_files / "hostile"
    seen = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or archive_kind(io.BytesIO(path.read_bytes()), path.name) is None:
            continue
        seen += 1
        with path.open("rb") as file:
            for one in unpack(file, path.name, lambda name: True, 50 * MB, 250 * MB):
                assert one.path.startswith(path.name)
                if isinstance(one, Refused):
                    assert isinstance(one.error, AliothError) and one.error.message and one.error.hint
    assert seen >= 7


def test_a_large_archive_does_not_keep_small_uploads_waiting(house, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_intake, "FEW_MEMBERS", 2)
    data = zipped({f"{n}.txt": b"%d" % n for n in range(4)})
    for one in house.intake.add_all(house.collection, "a.zip", io.BytesIO(data), Priority.UPLOAD):
        assert one.submission is not None
    with house.db.read() as session:
        ranks = dict(session.execute(select(DocumentTable.path, VersionTable.priority).join(VersionTable)).all())
    assert [ranks[f"a.zip/{n}.txt"] for n in range(4)] == [Priority.UPLOAD] * 2 + [Priority.BULK] * 2
