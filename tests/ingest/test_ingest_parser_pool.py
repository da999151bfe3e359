"""Real parser processes: what kills, hangs or fills one costs one document."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import EncryptedError, UnreadableError
from core.settings import IngestSettings
from core.types import Box
from ingest import parser_pool, parser_process
from ingest.parser_pool import ParserPool

ROOT = Path(__file__).parents[2]

HOSTILE_CHILD = """
import sys
sys.path.insert(0, {root!r})
import ingest.parse, ingest.parser_child, os, signal, time
real = ingest.parse.parse_file
def act(path, name, limits, max_bytes):
    if name == "segfault.txt":
        os.kill(os.getpid(), 11)
    if name == "interrupted.txt" and os.environ["CHILD"] == "1" or name == "interrupted-twice.txt":
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    if name == "hang.txt":
        time.sleep(60)
    if name == "spin.txt":
        while True:
            pass
    if name in ("scan.txt", "greedy.txt"):
        import resource
        before = resource.getrlimit(resource.RLIMIT_CPU)[0]
        limits.on_lent(1e9 if name == "greedy.txt" else 30)
        assert resource.getrlimit(resource.RLIMIT_CPU)[0] >= before + 30
        time.sleep(60 if name == "greedy.txt" else {sleep})
    if name == "memory.txt":
        bytearray(10 << 30)
    if name == "raise.txt":
        raise KeyError("surprise")
    if name == "print.txt":
        print("noise on stdout", flush=True)
        os.write(1, b"more noise")
    if name == "network.txt":
        import socket
        socket.create_connection(("127.0.0.1", {port}), 2)
    return real(path, name, limits, max_bytes)
ingest.parse.parse_file = act
sys.exit(ingest.parser_child.main(sys.argv[1:]))
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("Some words.")
    return path


@pytest.fixture
def ocr_max_s() -> float:
    """Seconds that pages to recognise may add."""
    return 60


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ocr_max_s: float):
    """A pool of one child whose parser misbehaves by the name of the file."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    script = tmp_path / "child.py"
    script.write_text(HOSTILE_CHILD.format(root=str(ROOT), port=listener.getsockname()[1], sleep=3.5))
    real = subprocess.Popen
    numbers = itertools.count(1)

    def popen(command, **options):
        options["env"] = {**options["env"], "CHILD": str(next(numbers))}
        return real([sys.executable, str(script), command[-1]], **options)

    monkeypatch.setattr(parser_process.subprocess, "Popen", popen)
    settings = IngestSettings(parse_timeout_s=3, parse_memory_mb=1024, ocr_max_s=ocr_max_s)
    with ParserPool(settings, 1) as pool:
        yield pool
    listener.close()


def test_parses_and_gives_back_document_errors(parsers: ParserPool, text: Path, tmp_path: Path) -> None:
    assert parsers.parse(text, "note.txt").blocks[0].text == "Some words."
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "locked")
    with pytest.raises(EncryptedError, match=r"'locked\.pdf'") as caught:
        parsers.parse(tmp_path / "locked", "locked.pdf")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("segfault.txt", r"'segfault\.txt': the parser crashed \(signal 11\)"),
        ("interrupted-twice.txt", r"'interrupted-twice\.txt': the parser crashed \(signal 2\)"),
        ("hang.txt", r"took longer than the limit of 3 s"),
        ("spin.txt", r"took longer than the limit of 3 s|used up its processor time"),
        ("memory.txt", r"more than the 1024 MB limit of memory"),
        ("raise.txt", r"the parser failed \(KeyError\)"),
        ("network.txt", r"the parser failed \(PermissionError\)"),
    ],
)
def test_a_misbehaving_parser_costs_one_document(hostile: ParserPool, text: Path, name: str, message: str) -> None:
    with pytest.raises(UnreadableError, match=message) as caught:
        hostile.parse(text, name)
    assert caught.value.hint
    assert hostile.parse(text, "good.txt").blocks[0].text == "Some words."


def test_a_child_that_ctrl_c_reached_is_no_fault_of_its_document(hostile: ParserPool, text: Path) -> None:
    assert hostile.parse(text, "interrupted.txt").blocks[0].text == "Some words."


def test_what_libraries_print_does_not_get_between_the_replies(hostile: ParserPool, text: Path) -> None:
    for _ in range(3):
        assert hostile.parse(text, "print.txt").blocks[0].text == "Some words."


def test_a_child_killed_while_idle_is_replaced(text: Path) -> None:
    with ParserPool(IngestSettings(), 1) as pool:
        pool.parse(text, "a.txt")
        [child] = pool._children
        os.kill(child._process.pid, signal.SIGKILL)
        child._process.wait()
        assert pool.parse(text, "a.txt").blocks


def test_a_worn_out_child_is_replaced(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parser_pool, "FILES_PER_CHILD", 2)
    with ParserPool(IngestSettings(), 1) as pool:
        seen = set()
        for _ in range(4):
            pool.parse(text, "a.txt")
            seen |= {child._process.pid for child in pool._children}
        assert len(seen) == 2


def test_many_threads_share_the_children(parsers: ParserPool, tmp_path: Path) -> None:
    paths = []
    for n in range(24):
        path = tmp_path / str(n)
        path.write_text(f"Text of file {n}.")
        paths.append(path)
    with ThreadPoolExecutor(6) as threads:
        texts = list(threads.map(lambda path: parsers.parse(path, "x.txt").blocks[0].text, paths))
    assert texts == [f"Text of file {n}." for n in range(24)]


def test_children_end_with_their_parent(text: Path) -> None:
    code = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from core.settings import IngestSettings\n"
        "from ingest.parser_pool import ParserPool\n"
        "pool = ParserPool(IngestSettings(), 1); pool.parse(Path(sys.argv[2]), 'a.txt')\n"
        "print(next(iter(pool._children))._process.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(text)], capture_output=True, timeout=60)
    pid = int(done.stdout)
    for _ in range(100):
        if not _runs(pid):
            return
        time.sleep(0.05)
    raise AssertionError("the child outlived its parent by 5 s")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_close_leaves_no_process(text: Path) -> None:
    pool = ParserPool(IngestSettings(), 1)
    pool.parse(text, "a.txt")
    [child] = pool._children
    pool.close()
    assert child._process.returncode is not None
    with pytest.raises(UnreadableError):
        pool.parse(text, "a.txt")


def test_render_page_draws_the_boxes_over_the_page(parsers: ParserPool, tmp_path: Path) -> None:
    import pypdf
    from PIL import Image

    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 100)
    writer.write(tmp_path / "p")
    data = parsers.render_page(tmp_path / "p", 1, 2.0, [Box(1, 50, 20, 100, 40), Box(2, 0, 0, 200, 100)])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    assert image.size == (400, 200)
    assert image.getpixel((150, 60)) != (255, 255, 255)
    assert image.getpixel((20, 180)) == (255, 255, 255)
    with pytest.raises(UnreadableError, match="page 7: the document has 1 pages"):
        parsers.render_page(tmp_path / "p", 7)


def test_a_scanned_page_is_read_by_ocr_and_says_so(parsers: ParserPool, tmp_path: Path) -> None:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (900, 300), "white")
    ImageDraw.Draw(image).text((40, 100), "Invoice total 4711 EUR", fill="black", font=ImageFont.load_default(40))
    image.save(tmp_path / "scan", "PDF", resolution=100)
    parsed = parsers.parse(tmp_path / "scan", "scan.pdf")
    assert "4711" in parsed.blocks[0].text
    assert [(problem.code, problem.page) for problem in parsed.problems] == [("ocr", 1)]
    assert parsed.blocks[0].locator.boxes[0].page == 1


@pytest.mark.parametrize("ocr_max_s", [60])
def test_pages_to_recognise_move_the_limit_of_time(hostile: ParserPool, text: Path) -> None:
    hostile.parse(text, "good.txt")
    assert hostile.parse(text, "scan.txt").blocks[0].text == "Some words."  # it sleeps longer than the limit of 3 s


@pytest.mark.parametrize("ocr_max_s", [1])
def test_no_page_moves_the_limit_of_time_beyond_what_is_allowed(hostile: ParserPool, text: Path) -> None:
    with pytest.raises(UnreadableError, match=r"took longer than the limit of 4 s"):
        hostile.parse(text, "greedy.txt")
    assert hostile.parse(text, "good.txt").blocks[0].text == "Some words."
