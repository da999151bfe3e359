"""Files that a process can still reach: Linux's Landlock, through ctypes. Only what is named here, for ever."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

EXECUTE: Final = 1 << 0
WRITE: Final = 1 << 1
READ: Final = 1 << 2
LIST: Final = 1 << 3
REMOVE_FOLDER: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_FOLDER: Final = 1 << 7
MAKE_FILE: Final = 1 << 8
MAKE_SOCKET: Final = 1 << 9
_REFER: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
READ_ALL: Final = READ | LIST
KEEP: Final = READ_ALL | WRITE | REMOVE_FOLDER | REMOVE_FILE | MAKE_FOLDER | MAKE_FILE | MAKE_SOCKET | _TRUNCATE
"""Everything with ordinary files in a folder of one's own."""

_FOR_FILES: Final = EXECUTE | WRITE | READ | _TRUNCATE
_RIGHTS: Final = ((1, (1 << 13) - 1), (2, _REFER), (3, _TRUNCATE), (5, 1 << 15))
"""Kernel interface from which on the rights exist; all of them are refused unless allowed."""
_TCP: Final = 3
_OUTSIDE: Final = 3
"""Abstract sockets and signals of processes outside."""
_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_PR_SET_NO_NEW_PRIVS: Final = 38


def version() -> int:
    """Number of the kernel's Landlock interface, 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, 1)))


def restrict(allowed: Iterable[tuple[Path, int]]) -> int:
    """Give up every file that no pair of path and rights allows; a folder's rights hold for all below it.

    Where the kernel can, TCP, abstract sockets and signals to processes outside are given up too. Paths that do not
    exist are passed over. Binds the calling thread and what it starts, so call it before there are others.

    Returns:
        `version()`; 0 when the kernel has no Landlock, and nothing is given up then.
    """
    interface = version()
    if not interface:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    handled = sum(rights for since, rights in _RIGHTS if interface >= since)
    attributes = struct.pack("QQQ", handled, _TCP if interface >= 4 else 0, _OUTSIDE if interface >= 6 else 0)
    ruleset = int(
        libc.syscall(_CREATE, attributes, len(attributes) if interface >= 6 else 16 if interface >= 4 else 8, 0)
    )
    if ruleset < 0:
        return 0
    try:
        for path, rights in allowed:
            _allow(libc, ruleset, path, rights & handled)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(_RESTRICT, ruleset, 0):
            return 0
    finally:
        os.close(ruleset)
    return interface


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _FOR_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        libc.syscall(_ADD_RULE, ruleset, 1, rule, 0)
    finally:
        os.close(descriptor)
