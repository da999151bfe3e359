"""Old Office and OpenDocument files through a real LibreOffice, locked into one folder for one file."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import socket
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from pathlib import Path

import pytest

from core.errors import DocumentTooLargeError, EncryptedError, StorageError, UnreadableError, UnsupportedTypeError
from core.settings import IngestSettings
from core.types import BlockKind
from ingest import landlock, office_convert
from ingest.office_convert import OfficeConverter, find_office
from ingest.ole_kind import ole_kind
from ingest.parser_pool import ParserPool, ParseStopped

_spec = importlib.util.spec_from_file_location("ingest_samples", Path(__file__).with_name("samples.py"))
assert _spec is not None and _spec.loader is not None
samples = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(samples)
zipped = samples.zipped

needs_office = pytest.mark.skipif(
    find_office() is None, reason="LibreOffice (libreoffice-writer, libreoffice-impress) is not installed"
)

_TEXT = "application/vnd.oasis.opendocument.text"
_NAMES = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:script="urn:oasis:names:tc:opendocument:xmlns:script:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)
_MANIFEST = (
    '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
    '<manifest:file-entry manifest:full-path="/" manifest:media-type="{type}"/>'
    '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml">{more}'
    "</manifest:file-entry></manifest:manifest>"
)


def odt(body: str, more: str = "", **members: bytes) -> bytes:
    content = (
        f'<office:document-content {_NAMES} office:version="1.2"><office:body><office:text>{body}'
        "</office:text></office:body></office:document-content>"
    )
    manifest = _MANIFEST.format(type=_TEXT, more=more).encode()
    parts = {"mimetype": _TEXT.encode(), "content.xml": content.encode(), "META-INF/manifest.xml": manifest}
    return zipped({**parts, **members})


BODY = (
    '<text:h text:outline-level="1">年度报告</text:h><text:p>First paragraph.</text:p>'
    '<table:table><table:table-column table:number-columns-repeated="2"/><table:table-row>'
    "<table:table-cell><text:p>Name</text:p></table:table-cell>"
    "<table:table-cell><text:p>Sum</text:p></table:table-cell></table:table-row>"
    "<table:table-row><table:table-cell><text:p>甲</text:p></table:table-cell>"
    "<table:table-cell><text:p>42</text:p></table:table-cell></table:table-row></table:table>"
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ParserPool]:
    """One parser that may read the module's folder only."""
    with ParserPool(IngestSettings(), 1, [folder_of(tmp_path_factory)]) as pool:
        yield pool


def folder_of(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp()


@pytest.fixture
def converter() -> Iterator[OfficeConverter]:
    with ThreadPoolExecutor(1) as starter:
        converter = OfficeConverter(IngestSettings(parse_timeout_s=60), starter)
        yield converter
        converter.close()


def never() -> None:
    """Nobody wants it stopped."""


def old_format(data: bytes, kind: str, folder: Path) -> bytes:
    """The same document as LibreOffice writes it in an old format."""
    with ThreadPoolExecutor(1) as starter:
        converter = OfficeConverter(IngestSettings(), starter)
        (folder / "source").write_bytes(data)
        try:
            with converter.converted(folder / "source", "odt", kind, "sample", never) as path:
                return path.read_bytes()
        finally:
            converter.close()


@needs_office
def test_a_text_document_keeps_headings_tables_and_its_own_type(pool: ParserPool, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(odt(BODY))
    parsed = pool.parse(tmp_path / "a", "报告.odt")
    assert parsed.blocks[0].kind is BlockKind.HEADING and parsed.blocks[0].text == "年度报告"
    assert parsed.blocks[1].text == "First paragraph."
    assert "甲 | 42" in parsed.blocks[2].text
    assert parsed.media_type == _TEXT
    assert parsed.metadata["converted"] == "odt to docx by LibreOffice"


@needs_office
def test_an_old_word_file_is_read_whatever_it_is_called(pool: ParserPool, tmp_path: Path) -> None:
    data = old_format(odt(BODY), "doc", tmp_path)
    assert data.startswith(b"\xd0\xcf\x11\xe0")
    (tmp_path / "a").write_bytes(data)
    assert ole_kind(tmp_path / "a") == "doc"
    parsed = pool.parse(tmp_path / "a", "a.txt")
    assert parsed.media_type == "application/msword"
    assert parsed.blocks[0].text == "年度报告"


@needs_office
def test_old_files_inside_a_mail_are_read_too_and_a_bad_one_costs_only_itself(pool: ParserPool, tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"] = "Papers"
    mail.set_content("See attached.")
    broken = odt(BODY)[:-40]
    for name, data in (("good.odt", odt(BODY)), ("broken.odt", broken), ("same.odt", odt(BODY)), ("a.txt", b"Plain.")):
        mail.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    (tmp_path / "mail").write_bytes(bytes(mail))
    parsed = pool.parse(tmp_path / "mail", "papers.eml")
    texts = [block.text for block in parsed.blocks]
    assert texts.count("年度报告") == 2 and "Plain." in texts
    assert [problem.code for problem in parsed.problems] == ["attachment_unread"]
    assert "'broken.odt'" in parsed.problems[0].message


def test_locked_files_are_named_as_such_before_anything_is_converted(pool: ParserPool, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(odt(BODY, "<manifest:encryption-data/>"))
    with pytest.raises(EncryptedError, match=r"'secret\.odt'.*password"):
        pool.parse(tmp_path / "a", "secret.odt")


def test_without_libreoffice_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(office_convert, "find_office", lambda: None)
    (tmp_path / "a").write_bytes(odt(BODY))
    with ParserPool(IngestSettings(), 1) as pool, pytest.raises(UnsupportedTypeError, match=r"'a\.odt'") as caught:
        pool.parse(tmp_path / "a", "a.odt")
    assert "apt-get install" in caught.value.hint and "libreoffice-writer" in caught.value.hint


@needs_office
def test_damaged_files_end_clearly(pool: ParserPool, tmp_path: Path) -> None:
    whole = old_format(odt(BODY), "doc", tmp_path)
    for name, data in (("cut.odt", odt(BODY)[:-200]), ("cut.doc", whole[: len(whole) // 3])):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(UnreadableError, match=name.replace(".", r"\.")) as caught:
            pool.parse(tmp_path / "a", name)
        assert caught.value.hint


@needs_office
def test_nothing_is_left_behind_and_profiles_are_never_shared(converter: OfficeConverter, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(odt(BODY))
    profiles: set[str] = set()

    def convert(_: int) -> None:
        with converter.converted(tmp_path / "a", "odt", "docx", "a.odt", never) as result:
            assert zipfile.is_zipfile(result)
            profiles.add(str(result.parent.parent / "profile"))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(convert, range(2)))
    assert len(profiles) == 2
    assert list(converter.folder.iterdir()) == []


@needs_office
@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_a_document_cannot_pull_in_files_or_addresses(tmp_path: Path, pool: ParserPool) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2 hunter2")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    port = listener.getsockname()[1]
    section = (
        '<text:section text:name="s{n}"><text:section-source xlink:href="{where}" xlink:type="simple" '
        'xlink:show="embed"/><text:p>Old.</text:p></text:section>'
    )
    places = (secret.as_uri(), f"http://127.0.0.1:{port}/x.odt")
    sections = "".join(section.format(n=n, where=where) for n, where in enumerate(places))
    (tmp_path / "a").write_bytes(odt("<text:p>Text.</text:p>" + sections))
    parsed = pool.parse(tmp_path / "a", "a.odt")
    assert "hunter2" not in " ".join(block.text for block in parsed.blocks)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.close()


STAND_IN = """#!{sh}
while [ "$1" != --outdir ]; do shift; done
out=$2; read what < "$3"
made() {{ echo "$1" > "$out/document.docx"; }}
case $what in
spin) while :; do :; done ;;
crash) kill -ABRT $$ ;;
nothing) ;;
fork) (exit 0); made "a second process" ;;
fill) while :; do echo 0123456789012345678901234567890123456789; done > "$out/document.docx" ;;
again) if [ -e "$HOME/seen" ]; then made "second start"; else echo > "$HOME/seen"; exit 81; fi ;;
escape)
    got=nothing
    read x < "{secret}" && got="$got read"
    echo x > "{beside}" && got="$got write"
    made "$got ${{THE_SECRET-unset}} ${{ALIOTH_DATABASE_URL-unset}}" ;;
esac
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OfficeConverter]:
    """A converter whose LibreOffice is a shell that does what the document says."""
    program = tmp_path / "office" / "program" / "soffice.bin"
    program.parent.mkdir(parents=True)
    shutil.copy("/bin/sh", program.with_name("sh"))
    (tmp_path / "secret.txt").write_text("hunter2")
    script = STAND_IN.format(sh=program.with_name("sh"), secret=tmp_path / "secret.txt", beside=tmp_path / "new")
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setattr(office_convert, "find_office", lambda: program)
    monkeypatch.setenv("THE_SECRET", "hunter2")
    monkeypatch.setenv("ALIOTH_DATABASE_URL", "postgresql://alioth:hunter2@db/alioth")
    with ThreadPoolExecutor(1) as starter:
        converter = OfficeConverter(IngestSettings(parse_timeout_s=4, max_file_mb=1), starter)
        yield converter
        converter.close()


def made_of(converter: OfficeConverter, what: str, folder: Path, check=never) -> str:
    (folder / "document").write_text(what + "\n")
    with converter.converted(folder / "document", "doc", "docx", "old.doc", check) as result:
        return result.read_text().strip()


@pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
def test_a_converter_that_was_taken_over_reads_and_writes_nothing_outside(
    stand_in: OfficeConverter, tmp_path: Path
) -> None:
    assert made_of(stand_in, "escape", tmp_path) == "nothing unset unset"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("spin", UnreadableError, r"'old\.doc': LibreOffice took longer than the limit of 4 s"),
        ("crash", UnreadableError, r"'old\.doc': LibreOffice could not open it"),
        ("nothing", UnreadableError, r"'old\.doc': LibreOffice could not open it"),
        ("fork", UnreadableError, r"'old\.doc': LibreOffice could not open it"),
        ("fill", DocumentTooLargeError, r"'old\.doc': as docx it is over the 1 MB limit"),
    ],
)
def test_a_converter_that_misbehaves_costs_one_document(
    stand_in: OfficeConverter, tmp_path: Path, what: str, error: type[Exception], message: str
) -> None:
    started = time.monotonic()
    with pytest.raises(error, match=message):
        made_of(stand_in, what, tmp_path)
    assert time.monotonic() - started < 120
    assert list(stand_in.folder.iterdir()) == []


def test_it_is_started_again_when_it_asks_for_it(stand_in: OfficeConverter, tmp_path: Path) -> None:
    assert made_of(stand_in, "again", tmp_path) == "second start"


def test_a_conversion_nobody_wants_any_more_is_ended(stand_in: OfficeConverter, tmp_path: Path) -> None:
    def stopped() -> None:
        raise ParseStopped

    with pytest.raises(ParseStopped):
        made_of(stand_in, "spin", tmp_path, stopped)
    assert list(stand_in.folder.iterdir()) == []


def test_folders_of_killed_processes_are_removed_and_those_in_use_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ThreadPoolExecutor(1) as starter:
        (tmp_path / "alioth-office-left" / "profile").mkdir(parents=True)
        first = OfficeConverter(IngestSettings(), starter)
        second = OfficeConverter(IngestSettings(), starter)
        assert first.folder.is_dir() and second.folder.is_dir()
        assert len(list(tmp_path.iterdir())) == 2
        with pytest.raises(StorageError, match="temporary folder"):
            monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
            OfficeConverter(IngestSettings(), starter)
        first.close()
        second.close()
    assert list(tmp_path.iterdir()) == []


def test_streams_at_the_root_decide_not_those_of_embedded_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600)
    assert ole_kind(tmp_path / "a") == "damaged"
    with (tmp_path / "a").open("ab") as file:
        file.write("PowerPoint Document".encode("utf-16-le"))
    assert ole_kind(tmp_path / "a") == "ppt"


def test_real_old_files_are_read(evaluation_files: Path) -> None:
    if find_office() is None:
        pytest.skip("LibreOffice is not installed")
    folder = evaluation_files / "files"
    expected = {
        "unstructured/simple.doc": "These are a few of my favorite things",
        "tika/testPPT.ppt": "Sample Powerpoint Slide",
        "tika/testWORKS.wps": "Microsoft Works Word Processor",
    }
    with ParserPool(IngestSettings(), 1, [folder]) as pool:
        for name, words in expected.items():
            parsed = pool.parse(folder / name, Path(name).name)
            assert words in " ".join(block.text for block in parsed.blocks)
        with pytest.raises(EncryptedError):
            pool.parse(folder / "tika/testPPT_protected_passtika.ppt", "locked.ppt")
        with pytest.raises(EncryptedError):
            pool.parse(folder / "tika/testWORD_protected_passtika.doc", "locked.doc")


def test_a_folder_that_another_process_takes_for_a_leftover_is_made_again(tmp_path: Path, monkeypatch) -> None:
    """Removed before it is opened, before it is locked, or removed and made anew under the same name meanwhile."""
    monkeypatch.setattr(office_convert.tempfile, "tempdir", str(tmp_path))
    make, lock = office_convert.tempfile.mkdtemp, office_convert.fcntl.flock
    moments = iter(["before it is opened", "before it is locked", "made anew", "left alone"])
    made: list[Path] = []

    def mkdtemp(**options) -> str:
        made.append(Path(make(**options)))
        moment.append(next(moments))
        if moment[-1] == "before it is opened":
            office_convert._remove_leftovers()
        return str(made[-1])

    def flock(descriptor: int, how: int) -> None:
        if moment[-1] in ("before it is locked", "made anew") and how == fcntl.LOCK_EX:
            made[-1].rmdir()
            if moment[-1] == "made anew":
                made[-1].mkdir()
        lock(descriptor, how)

    moment: list[str] = []
    monkeypatch.setattr(office_convert.tempfile, "mkdtemp", mkdtemp)
    monkeypatch.setattr(office_convert.fcntl, "flock", flock)
    folder, descriptor = office_convert._own_folder()
    assert moment[-1] == "left alone" and folder == made[-1] and folder.is_dir()
    office_convert._remove_leftovers()
    assert folder.is_dir(), "its lock is held"
    os.close(descriptor)
    office_convert._remove_leftovers()
    assert not folder.exists()
