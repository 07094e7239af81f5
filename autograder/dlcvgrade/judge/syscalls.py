"""A filter on system calls for the process that runs student code: it starts no other and touches no other.

One exercise is one process. Without ``fork`` and ``execve`` there is no fork bomb, no orphan and no shell; without
``ptrace``, foreign signals and shared memory segments nothing reaches the worker or the next exercise. Threads are
allowed: torch uses them. The resource limits bound them. Runs inside the sandbox and imports nothing of the project.

Source:
    Linux, ``Documentation/userspace-api/seccomp_filter.rst``; the numbers are those of the kernel's system call tables.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from dataclasses import dataclass

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_LOAD, _EQUAL, _AT_LEAST, _HAS_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x10000
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER_MODE = 38, 22, 2


@dataclass(frozen=True)
class _Table:
    """System call numbers of one processor architecture."""

    audit: int
    clone: int
    denied: tuple[int, ...]
    only_self: tuple[int, ...]
    has_x32: bool = False


_CLONE3 = 435
_NEWER = (424, 425, 434, 438, 440, 447)  # pidfds, io_uring, process_madvise, memfd_secret: alike everywhere
_TABLES = {
    "x86_64": _Table(
        audit=0xC000003E,
        clone=56,
        denied=(
            *(57, 58, 59, 322),  # fork vfork execve execveat
            *(101, 312, 310, 311, 256, 279),  # ptrace kcmp process_vm_readv process_vm_writev migrate_pages move_pages
            *(41, 29, 30, 68, 64, 240, 248, 249, 250),  # socket, shared memory, message queues, semaphores, keys
            *(272, 308, 165, 166, 155, 161),  # unshare setns mount umount2 pivot_root chroot
            *(319, 323, 298, 321),  # memfd_create userfaultfd perf_event_open bpf
            *(129, 297, 200, 141, 251, 135),  # rt_sigqueueinfo rt_tgsigqueueinfo tkill setpriority ioprio personality
            *_NEWER,
        ),
        only_self=(62, 234, 302, 203, 142, 144, 314),  # kill tgkill prlimit64 sched_setaffinity/param/scheduler/attr
        has_x32=True,
    ),
    "aarch64": _Table(
        audit=0xC00000B7,
        clone=220,
        denied=(
            *(221, 281),
            *(117, 272, 270, 271, 238, 239),
            *(198, 194, 196, 186, 190, 180, 217, 218, 219),
            *(97, 268, 40, 39, 41, 51),
            *(279, 282, 241, 280),
            *(138, 240, 130, 140, 30, 92),
            *_NEWER,
        ),
        only_self=(129, 131, 261, 122, 118, 119, 274),
    ),
}


def is_known() -> bool:
    """Return whether there is a filter for this machine's processor."""
    return platform.machine() in _TABLES


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def program(machine: str, own_pid: int) -> bytes:
    """Return the filter as the kernel takes it: 8 bytes for each instruction.

    Args:
        machine: Processor architecture, ``x86_64`` or ``aarch64``.
        own_pid: Process that calls which name a process may name, besides 0.
    """
    table = _TABLES[machine]
    refuse = _step(_RETURN, _ERRNO | _EPERM)
    steps = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, table.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if table.has_x32:
        steps += [_step(_AT_LEAST, 0x40000000, 0, 1), refuse]
    # clone3 hides its flags behind a pointer; the C library falls back to clone where it is not there.
    steps += [_step(_EQUAL, _CLONE3, 0, 1), _step(_RETURN, _ERRNO | _ENOSYS)]
    for number in table.denied:
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    allow = _step(_RETURN, _ALLOW)
    load = _step(_LOAD, _FIRST_ARGUMENT)
    steps += [_step(_EQUAL, table.clone, 0, 4), load, _step(_HAS_BIT, _CLONE_THREAD, 0, 1), allow, refuse]
    for number in table.only_self:
        steps += [_step(_EQUAL, number, 0, 5), load, _step(_EQUAL, own_pid, 1, 0), _step(_EQUAL, 0, 0, 1)]
        steps += [allow, refuse]
    return b"".join([*steps, allow])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def install() -> None:
    """Put the filter on the calling process, for good.

    Raises:
        OSError: If the kernel refuses.
    """
    code = program(platform.machine(), os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    whole = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong]
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, None, 0, 0) or libc.prctl(
        _SET_SECCOMP, _FILTER_MODE, ctypes.addressof(whole), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel refuses the filter on system calls")


def hide_from_others() -> None:
    """Make the calling process undumpable, so that others of the same user cannot open its memory in /proc.

    Raises:
        OSError: If the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(4, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel refuses to hide the process")
