"""What a process that reads hostile files gives up before the first one, and what it keeps."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ingest import landlock, seccomp

ROOT: Final = Path(__file__).resolve().parent.parent
"""The folder of the source packages."""
_PR_SET_PDEATHSIG: Final = 1
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000
_KEPT_VARIABLES: Final = frozenset(
    {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX"}
)
_PACKAGES: Final = ("core", "ingest")
"""What a parser imports of ours; the folder they lie in may hold anything else."""
# fmt: off
_SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/fonts", "/etc/mime.types",
    "/dev/urandom", "/dev/random", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat",
    "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/sys/devices/system", "/sys/fs/cgroup",
)
_OFFICE: Final = ("/etc/libreoffice", "/var/lib/libreoffice", "/var/spool/libreoffice")
"""Where Debian puts parts of LibreOffice."""
# fmt: on


def clean_environment() -> dict[str, str]:
    """The few variables that programs need; secrets and settings stay behind."""
    return {key: value for key, value in os.environ.items() if key in _KEPT_VARIABLES}


def die_with(parent: int) -> None:
    """End this process with the thread that started it; at once when `parent` is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def limit(which: int, value: int) -> None:
    """Lower a resource limit for ever; nothing happens when it is lower already."""
    _, hard = resource.getrlimit(which)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (bound, bound))


def confine_parser(readable: Sequence[str] | None, part_bytes: int) -> dict[str, int]:
    """Give up network, other processes and writing; keep reading of programs and of the files to parse.

    Args:
        readable: folders with the files to parse, which can be opened there but not listed; None for all files.
        part_bytes: largest file without a name, in memory, that it may still write, for parts of a document.

    Returns:
        What is in force: `seccomp` 0 or 1, `landlock` the kernel's interface number or 0.
    """
    _leave_network()
    limit(resource.RLIMIT_FSIZE, part_bytes)
    documents = [("/", landlock.READ_ALL)] if readable is None else [(folder, landlock.READ) for folder in readable]
    files = landlock.restrict([*_paths(documents), *_programs(), (Path(os.devnull), landlock.READ | landlock.WRITE)])
    return {"landlock": files, "seccomp": int(seccomp.install())}


def confine_program(program: Path, folder: Path) -> dict[str, int]:
    """As `confine_parser` for another program that replaces this process next and works in `folder`, its own.

    Args:
        program: the folder it is installed in.
    """
    _leave_network()
    system = [(Path(path), landlock.READ_ALL) for path in (*_SYSTEM, *_OFFICE)]
    loader = [
        (Path(path), landlock.READ_ALL | landlock.EXECUTE) for path in ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
    ]
    files = landlock.restrict(
        [
            *system,
            *loader,
            (program, landlock.READ_ALL | landlock.EXECUTE),
            (folder, landlock.KEEP),
            *((Path(path), landlock.READ | landlock.WRITE) for path in (os.devnull, "/dev/shm")),
        ]
    )
    return {"landlock": files, "seccomp": int(seccomp.install(program_starts=True))}


def refuse_in_python(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook that says no where the kernel has no filter, and says so in Python's own words."""
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.fork"):
        raise PermissionError(f"A parser may not do {event}.")


def lacking(report: Mapping[str, int]) -> list[str]:
    """Which of the protections are not in force."""
    return [name for name in ("seccomp", "landlock") if not report.get(name)]


def _leave_network() -> None:
    """A network namespace of its own has no way out; where the kernel refuses one, the filter stands."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "unshare") and libc.unshare(_CLONE_NEWNET):
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _programs() -> Iterable[tuple[Path, int]]:
    for path in (*_SYSTEM, sys.prefix, sys.base_prefix):
        yield Path(path), landlock.READ_ALL
    yield ROOT, landlock.LIST
    for package in _PACKAGES:
        yield ROOT / package, landlock.READ_ALL
    for entry in sys.path:
        if entry and Path(entry).resolve() != ROOT:
            yield Path(entry), landlock.READ_ALL


def _paths(pairs: Iterable[tuple[str, int]]) -> Iterable[tuple[Path, int]]:
    return ((Path(path), rights) for path, rights in pairs)
