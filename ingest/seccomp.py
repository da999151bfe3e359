"""System calls that a process gives up for good: a classic BPF program for Linux's seccomp, through ctypes.

The program refuses a list of calls and lets the others pass: threads, memory and reading go on as before. See
docs/sandbox.md for what that leaves open.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_SECCOMP_SET_MODE_FILTER: Final = 1
_TSYNC: Final = 1

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW: Final = 0x7FFF0000
_KILL: Final = 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_X32_BIT: Final = 0x40000000
_CLONE_THREAD: Final = 0x00010000
_WRITING: Final = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
_AF_UNIX: Final = 1

_ARCHITECTURES: Final[Mapping[str, tuple[int, int, int]]] = {
    # machine: audit architecture, column of the numbers below, number of the call seccomp
    "x86_64": (0xC000003E, 0, 317),
    "aarch64": (0xC00000B7, 1, 277),
}

# fmt: off
_NUMBERS: Final[Mapping[str, tuple[int | None, int | None]]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "clone": (56, 220),
    "clone3": (435, 435), "open": (2, None), "openat": (257, 56), "openat2": (437, 437), "creat": (85, None),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "prlimit64": (302, 261), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "unlink": (87, None), "unlinkat": (263, 35),
    "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None), "mknod": (133, None), "mknodat": (259, 33),
    "symlink": (88, None), "symlinkat": (266, 36), "link": (86, None), "linkat": (265, 37), "rename": (82, None),
    "renameat": (264, 38), "renameat2": (316, 276), "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97),
    "setns": (308, 268), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "userfaultfd": (323, 282), "init_module": (175, 105), "delete_module": (176, 106),
    "finit_module": (313, 273), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161), "setdomainname": (171, 162),
    "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "personality": (135, 92),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "fanotify_init": (300, 262), "syslog": (103, 116), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "uselib": (134, None), "access": (21, None), "faccessat": (269, 48),
}
# fmt: on
_SYSTEM: Final = tuple(
    name
    for name in _NUMBERS
    if name not in {"open", "openat", "openat2", "creat", "access", "faccessat"}
    and name not in {"clone", "clone3", "kill", "tgkill", "prlimit64"}
)
# fmt: off
_FILE_CHANGES: Final = frozenset({
    "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat",
    "rename", "renameat", "renameat2", "truncate", "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown",
    "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr",
    "setxattrat", "removexattrat", "utime", "utimes", "futimesat", "utimensat",
})
# fmt: on
_LOCAL_SOCKETS: Final = frozenset({"socket", "socketpair", "bind", "listen", "accept", "accept4", "sendto", "sendmsg"})

Instruction = tuple[int, int, int, int]
"""code, jump if true, jump if false, constant: as struct sock_filter."""


def install(*, program_starts: bool = False) -> bool:
    """Give up network, other processes, changes to files and all of the system's administration, for ever.

    Threads can still be started and files opened for reading. Every thread of this process is bound.

    Args:
        program_starts: for a program that is about to replace this one (`execve` is allowed, new processes are not)
            and that keeps files of its own: it may write files, and use AF_UNIX sockets among its own threads.

    Returns:
        False where this machine's architecture or kernel has no such filter; nothing is given up then.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES or not hasattr(libc := ctypes.CDLL(None, use_errno=True), "prctl"):
        return False
    code = _assembled(machine, os.getpid(), program_starts)
    raw = b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    number = _ARCHITECTURES[machine][2]
    if libc.syscall(number, _SECCOMP_SET_MODE_FILTER, _TSYNC, ctypes.byref(program)) == 0:
        return True
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _assembled(machine: str, pid: int, program_starts: bool) -> list[Instruction]:
    audit, column, _ = _ARCHITECTURES[machine]
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, audit),  # a call through another architecture's entry has other numbers
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL)]
    allowed = _FILE_CHANGES | _LOCAL_SOCKETS | {"execve"} if program_starts else frozenset()
    rules = {name: _refuse(errno.EPERM) for name in _SYSTEM if name not in allowed}
    rules |= {
        "clone": _if_bit(0, _CLONE_THREAD, _let(), _refuse(errno.EPERM)),
        "clone3": _refuse(errno.ENOSYS),  # its flags are in memory, out of sight: libraries fall back to clone
        "kill": _if_equal(0, (pid,), _refuse(errno.EPERM)),
        "tgkill": _if_equal(0, (pid,), _refuse(errno.EPERM)),
        "prlimit64": _if_equal(0, (0, pid), _refuse(errno.EPERM)),
    }
    if program_starts:
        rules["socket"] = rules["socketpair"] = _if_equal(0, (_AF_UNIX,), _refuse(errno.EACCES))
        # LibreOffice asks so whether its socket may lie in /tmp; being refused it takes OSL_SOCKET_PATH
        rules["access"] = _if_bit(1, os.W_OK, _refuse(errno.EACCES), _let())
        rules["faccessat"] = _if_bit(2, os.W_OK, _refuse(errno.EACCES), _let())
    else:
        rules |= {
            "open": _if_bit(1, _WRITING, _refuse(errno.EACCES), _let()),
            "openat": _if_bit(2, _WRITING, _refuse(errno.EACCES), _let()),
            "openat2": _refuse(errno.ENOSYS),
            "creat": _refuse(errno.EACCES),
        }
    for name, then in rules.items():
        number = _NUMBERS[name][column]
        if number is not None:
            code += [(_EQUAL, 0, len(then), number), *then]
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _let() -> list[Instruction]:
    return [(_RETURN, 0, 0, _ALLOW)]


def _refuse(number: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, 0x00050000 | number)]


def _argument(index: int) -> Instruction:
    """Its lower half: flags, numbers of processes and address families are no longer."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _if_bit(index: int, bits: int, yes: list[Instruction], no: list[Instruction]) -> list[Instruction]:
    return [_argument(index), (_ANY_BIT, 0, len(yes), bits), *yes, *no]


def _if_equal(index: int, values: Sequence[int], otherwise: list[Instruction]) -> list[Instruction]:
    code = [_argument(index)]
    for value in values:
        code += [(_EQUAL, 0, 1, value), *_let()]
    return [*code, *otherwise]
