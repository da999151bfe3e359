"""What a parser that a file has taken over can still do: nothing outside its own memory, on this kernel."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import UnreadableError
from core.settings import IngestSettings
from ingest import landlock, parser_pool, parser_process, sandbox, seccomp
from ingest.parser_pool import ParserPool

ROOT = Path(__file__).parents[2]
needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.uname().machine not in ("x86_64", "aarch64"),
    reason="no filter for this architecture",
)

TAKEN_OVER = """
import sys
sys.path.insert(0, {root!r})
import ctypes, json, os, signal, socket, subprocess, threading, time
import ingest.parse, ingest.parser_child
from pathlib import Path
from core.types import Block, BlockKind, ParsedDocument

def clone_process():
    # past Python and libc: the bare system call, without the flag that makes a thread
    result = ctypes.CDLL(None, use_errno=True).syscall({clone}, signal.SIGCHLD, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result < 0:
        raise OSError(ctypes.get_errno(), "clone")

def call(number, *arguments):
    def attempt():
        if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "refused")
    return attempt

def thread():
    done = []
    worker = threading.Thread(target=done.append, args=(1,))
    worker.start()
    worker.join()
    if not done:
        raise OSError("no thread")

def bare_open(path, flags):
    def attempt():
        if ctypes.CDLL(None, use_errno=True).open(path.encode(), flags, 0o600) < 0:
            raise OSError(ctypes.get_errno(), path)
    return attempt

def attempts(secret, beside, here):
    yield "thread", thread
    yield "read_document", lambda: open(here).read()
    yield "memory_file", lambda: os.write(os.memfd_create("part"), b"part")
    yield "end_itself", lambda: os.kill(os.getpid(), 0)
    yield "socket", socket.socket
    yield "local_socket", lambda: socket.socket(socket.AF_UNIX)
    yield "name_lookup", lambda: socket.getaddrinfo("localhost", 80)
    yield "fork", os.fork
    yield "clone", clone_process
    yield "start_program", lambda: subprocess.run(["true"])
    yield "shell", lambda: os.posix_spawn("/bin/true", ["true"], {{}})
    yield "exec", lambda: os.execv("/bin/true", ["true"])
    yield "write_beside", lambda: open(beside, "w")
    yield "write_bare", bare_open(beside, os.O_WRONLY | os.O_CREAT)
    yield "append", lambda: open(here, "a")
    yield "truncate", lambda: os.truncate(here, 0)
    yield "remove", lambda: os.unlink(here)
    yield "rename", lambda: os.rename(here, here + "x")
    yield "make_folder", lambda: os.mkdir(beside)
    yield "make_link", lambda: os.symlink(here, beside)
    yield "change_rights", lambda: os.chmod(here, 0o777)
    yield "read_secret", lambda: open(secret).read()
    yield "list_documents", lambda: os.listdir(os.path.dirname(here))
    yield "read_parent_environment", lambda: open(f"/proc/{{os.getppid()}}/environ").read()
    yield "read_passwords", lambda: open("/etc/passwd").read()
    yield "signal_parent", lambda: os.kill(os.getppid(), 0)
    yield "signal_group", lambda: os.killpg(os.getpgid(os.getppid()), 0)
    yield "parent_limits", lambda: __import__("resource").prlimit(os.getppid(), 7)
    yield "more_memory", lambda: __import__("resource").setrlimit(9, (-1, -1))
    for name, number in {numbers}.items():
        yield name, call(number, 0, 0, 0, 0, 0)

def act(path, name, limits, max_bytes):
    told = json.loads(name) if name.startswith("{{") else {{}}
    if told.get("do") == "probe":
        out = {{"environment": sorted(os.environ)}}
        for what, attempt in attempts(told["secret"], told["beside"], str(path)):
            try:
                attempt()
                out[what] = "done"
            except OSError as error:
                out[what] = "refused"
            except BaseException as error:
                out[what] = type(error).__name__
        return ParsedDocument((Block(BlockKind.PARAGRAPH, json.dumps(out)),), "text/plain")
    if told.get("do") == "flood":
        return ParsedDocument((Block(BlockKind.PARAGRAPH, "x" * told["size"]),), "text/plain")
    if told.get("do") == "endless":
        while True:
            os.write(told["to"], b"x" * 65536)
    if told.get("do") == "say":
        os.write(told["to"], told["what"].encode() + b"\\n")
        time.sleep(60)
    if told.get("do") == "threads":
        while True:
            threading.Thread(target=time.sleep, args=(60,)).start()
    return real(path, name, limits, max_bytes)

real = ingest.parse.parse_file
ingest.parse.parse_file = act
sys.exit(ingest.parser_child.main(sys.argv[1:]))
"""
PROBED_CALLS = (
    "ptrace mount umount2 unshare setns keyctl add_key bpf io_uring_setup perf_event_open userfaultfd init_module "
    "kexec_load process_vm_readv pidfd_open chroot pivot_root open_by_handle_at shmget modify_ldt fsopen mount_setattr"
)


def number_of(name: str) -> int | None:
    return seccomp._NUMBERS[name][0 if os.uname().machine == "x86_64" else 1]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that the parser may read, with one document; secrets lie beside it."""
    folder = tmp_path / "home" / "files"
    folder.mkdir(parents=True)
    (folder / "document").write_text("Some words.")
    (tmp_path / "home" / "secret.key").write_text("hunter2")
    return folder


@pytest.fixture
def taken_over(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch):
    """A pool whose child does what the name of the file says."""
    numbers = {name: number for name in PROBED_CALLS.split() if (number := number_of(name)) is not None}
    script = tmp_path / "script" / "child.py"
    script.parent.mkdir()
    script.write_text(TAKEN_OVER.format(root=str(ROOT), clone=number_of("clone"), numbers=numbers))
    real = subprocess.Popen

    def popen(command, **options):
        return real([sys.executable, "-P", str(script), command[-1]], **options)

    monkeypatch.setenv("ALIOTH_DATABASE_URL", "postgresql://alioth:hunter2@db/alioth")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setattr(parser_process.subprocess, "Popen", popen)
    settings = IngestSettings(parse_timeout_s=10, parse_memory_mb=1024, max_chars=1_000_000)
    with ParserPool(settings, 1, [place]) as pool:
        yield pool


@pytest.fixture
def probed(taken_over: ParserPool, place: Path) -> dict[str, str]:
    told = {"do": "probe", "secret": str(place.parent / "secret.key"), "beside": str(place / "new")}
    out = json.loads(taken_over.parse(place / "document", json.dumps(told)).blocks[0].text)
    assert [path.name for path in place.iterdir()] == ["document"]
    assert (place / "document").read_text() == "Some words."
    return out


@needs_seccomp
@needs_landlock
def test_a_parser_that_was_taken_over_can_do_nothing_outside_itself(probed: dict[str, str]) -> None:
    allowed = {"thread", "read_document", "memory_file", "end_itself"}
    assert {name: probed[name] for name in allowed} == dict.fromkeys(allowed, "done")
    got_through = {name for name, outcome in probed.items() if outcome == "done"} - allowed
    assert got_through == set()
    assert len(probed) > 40


@needs_seccomp
def test_the_filter_alone_stops_network_programs_and_writing(
    taken_over: ParserPool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taken_over, "_readable", None)  # Landlock then allows reading everywhere
    told = {"do": "probe", "secret": str(place.parent / "secret.key"), "beside": str(place / "new")}
    out = json.loads(taken_over.parse(place / "document", json.dumps(told)).blocks[0].text)
    reading = {"read_secret", "list_documents", "read_passwords", "read_parent_environment"}
    allowed = {"thread", "read_document", "memory_file", "end_itself"}
    assert {name for name, outcome in out.items() if outcome == "done"} <= reading | allowed


def test_no_variable_of_the_parent_reaches_the_parser(probed: dict[str, str]) -> None:
    names = probed["environment"]
    assert "PATH" in names
    assert not [name for name in names if "ALIOTH" in name or "AWS" in name or "SECRET" in name]


def test_the_kernel_refuses_also_what_python_does_not_see() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import ctypes\n"
        "from ingest import seccomp\n"
        "print(seccomp.install())\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "print(libc.socket(2, 1, 0), ctypes.get_errno())\n"
        "print(libc.fork() if libc.fork() else 0, ctypes.get_errno())\n"
        "sys.stdout.flush()\n"
        "print(libc.execl(b'/bin/echo', b'echo', b'escaped', None), ctypes.get_errno())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, timeout=60)
    if done.stdout.startswith("False"):
        pytest.skip("this kernel has no such filter")
    assert done.stdout.split() == ["True", "-1", "1", "-1", "1", "-1", "1"], done.stderr


def test_the_program_kills_calls_of_another_architecture() -> None:
    for machine in ("x86_64", "aarch64"):
        code = seccomp._assembled(machine, 4711, False)
        assert all(0 <= up < 256 and 0 <= down < 256 for _, up, down, _ in code)
        assert outcome(code, 0xDEAD, 1, ()) == 0x80000000
        native = seccomp._ARCHITECTURES[machine][0]
        number = seccomp._NUMBERS["connect"][0 if machine == "x86_64" else 1]
        assert outcome(code, native, number, ()) == 0x00050001
        tgkill = seccomp._NUMBERS["tgkill"][0 if machine == "x86_64" else 1]
        assert outcome(code, native, tgkill, (4711,)) == 0x7FFF0000
        assert outcome(code, native, tgkill, (1,)) == 0x00050001
        openat = seccomp._NUMBERS["openat"][0 if machine == "x86_64" else 1]
        assert outcome(code, native, openat, (0, 0, os.O_RDONLY)) == 0x7FFF0000
        assert outcome(code, native, openat, (0, 0, os.O_RDWR)) == 0x0005000D
    assert outcome(seccomp._assembled("x86_64", 1, False), 0xC000003E, 0x40000000 + 41, ()) == 0x80000000


def test_a_program_that_is_started_keeps_files_and_sockets_of_its_own_and_no_more() -> None:
    code, native = seccomp._assembled("x86_64", 4711, True), 0xC000003E
    refused = {"connect": (), "fork": (), "clone": (17,), "ptrace": (), "socket": (2,), "unshare": (), "kill": (1,)}
    for name, arguments in refused.items():
        assert outcome(code, native, seccomp._NUMBERS[name][0] or 0, arguments) & 0xFFFF0000 == 0x00050000, name
    allowed = {"execve": (), "openat": (0, 0, 2), "socket": (1,), "clone": (0x3D0F00,), "unlink": (), "kill": (4711,)}
    for name, arguments in allowed.items():
        assert outcome(code, native, seccomp._NUMBERS[name][0] or 0, arguments) == 0x7FFF0000, name


def outcome(code: list[seccomp.Instruction], architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """What the kernel's interpreter makes of the program for one call."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *(*arguments, *[0] * (6 - len(arguments))))
    at = value = 0
    while True:
        what, up, down, constant = code[at]
        at += 1
        if what == 0x20:
            value = int.from_bytes(data[constant : constant + 4], "little")
        elif what == 0x06:
            return constant
        else:
            true = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[what]
            at += up if true else down


# ---------------------------------------------------------------- what comes out


def test_a_reply_over_the_limit_is_refused_and_the_next_document_is_read(
    taken_over: ParserPool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser_pool, "REPLY_ROOM", 1_000_000)
    with pytest.raises(UnreadableError, match=r"gave more than the limit of 5 MB"):
        taken_over.parse(place / "document", json.dumps({"do": "flood", "size": 20_000_000}))
    assert taken_over.parse(place / "document", "a.txt").blocks[0].text == "Some words."


def test_endless_output_ends_at_the_limit_in_bounded_memory(
    taken_over: ParserPool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    monkeypatch.setattr(parser_pool, "REPLY_ROOM", 16_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableError, match="gave more than the limit of 20 MB"):
        taken_over.parse(place / "document", json.dumps({"do": "endless", "to": reply_descriptor(taken_over, place)}))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert taken_over.parse(place / "document", "a.txt").blocks[0].text == "Some words."


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[1, 2]",
        "{}",
        '{"document": 5}',
        '{"document": {"blocks": [[1]]}}',
        "[" * 100_000,
        '{"pages_done": "x"}',
    ],
)
def test_answers_that_make_no_sense_cost_one_document(taken_over: ParserPool, place: Path, line: str) -> None:
    told = {"do": "say", "what": line, "to": reply_descriptor(taken_over, place)}
    with pytest.raises(UnreadableError, match="makes no sense"):
        taken_over.parse(place / "document", json.dumps(told))
    assert taken_over.parse(place / "document", "a.txt").blocks[0].text == "Some words."


def reply_descriptor(pool: ParserPool, place: Path) -> int:
    """The number of the pipe to the parent inside the child."""
    pool.parse(place / "document", "a.txt")
    [child] = pool._children
    pipe = os.readlink(f"/proc/self/fd/{child._process.stdout.fileno()}")
    folder = Path(f"/proc/{child._process.pid}/fd")
    return next(int(entry.name) for entry in folder.iterdir() if os.readlink(entry) == pipe)


def test_a_bomb_of_threads_ends_with_its_parser(taken_over: ParserPool, place: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UnreadableError):
        taken_over.parse(place / "document", json.dumps({"do": "threads"}))
    assert time.monotonic() - started < 120
    assert taken_over.parse(place / "document", "a.txt").blocks[0].text == "Some words."


# ---------------------------------------------------------------- what still works


def test_a_system_without_protections_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    parser_process._NOTED.clear()
    for _ in range(2):
        parser_process._note_sandbox({"seccomp": 0, "landlock": 0})
        parser_process._note_sandbox({"seccomp": 1, "landlock": 7})
    assert [record.getMessage() for record in caplog.records] == [
        "parsers run without seccomp and landlock on this system; see docs/sandbox.md"
    ]
    assert sandbox.lacking({"seccomp": 1, "landlock": 0}) == ["landlock"]


def test_every_kind_of_file_is_read_inside(evaluation_files: Path) -> None:
    """One real file of each type, OCR included, by a pool that may read nothing but their folder."""
    names = (
        "docling/2305.03393v1-pg9.pdf",
        "tika/testHTML.html",
        "docling/legacy_sample.xls",
        "unstructured/eng_spa_mult.ppt",
        "zh_easyexcel/compatibility_t01.xls",
        "docling/eml_with_attachment.eml",
        "tika/testEPUB_xml_ext.epub",
        "tika/testMSG_forwarded.msg",
        "tika/test-incremental-updates.eml",
    )
    folder = evaluation_files / "files"
    with ParserPool(IngestSettings(), 1, [folder]) as pool:
        for name in names:
            if (folder / name).is_file():
                parsed = pool.parse(folder / name, Path(name).name)
                assert parsed.blocks, name
                assert not [problem for problem in parsed.problems if "parser failed" in problem.message], name
