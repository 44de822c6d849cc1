"""What the system does with memory and Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import address

_MBIND = {"x86_64": 237, "aarch64": 235, "ppc64le": 259}
"""Number of the system call, which the C library has no function for."""
_MPOL_BIND = 2
_BITS = 1024
"""NUMA nodes that a mask has room for, as many as any Linux kernel knows."""

_POPULATE_WRITE = 23
"""Advice that Python has no name for before 3.14; since Linux 5.14."""
_IN_MEMORY = {"tmpfs", "ramfs"}
_MOUNTS = Path("/proc/self/mountinfo")


def is_in_memory(folder: str | Path) -> bool:
    """Tell whether a folder is on no disk, but in memory; False where it is not there."""
    try:
        device = Path(folder).stat().st_dev
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    # man 5 proc: the third word is the device; behind " - " comes the type of file system
    mounted = (one.partition(" - ") for one in lines)
    return any(
        before.split()[2] == number and after.split()[0] in _IN_MEMORY
        for before, _, after in mounted
    )


def populate(pages: mmap.mmap, buffer: NDArray[np.uint8], page_nbytes: int) -> None:
    """Take all pages of a buffer, which begins where ``pages`` does, from the system now.

    Raises
    ------
    OSError
        When there are not as many: to write to them would end the process.
    """
    try:
        pages.madvise(_POPULATE_WRITE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        buffer[::page_nbytes] = 0  # a kernel that does not know it


def lock_pages(buffer: NDArray[np.uint8]) -> None:
    """Keep a buffer's pages in memory until they are given back.

    Raises
    ------
    OSError
        When the system refuses.
    """
    _call("mlock", ctypes.c_void_p(address(buffer)), ctypes.c_size_t(buffer.nbytes))


def unlock_pages(buffer: NDArray[np.uint8]) -> None:
    """Let a buffer's pages go again, whether they were locked or not.

    Raises
    ------
    OSError
        When the system refuses.
    """
    _call("munlock", ctypes.c_void_p(address(buffer)), ctypes.c_size_t(buffer.nbytes))


def bind_pages(buffer: NDArray[np.uint8], nodes: Iterable[int]) -> None:
    """Take pages that a page-aligned buffer has not got yet from these NUMA nodes alone.

    Raises
    ------
    OSError
        When the system refuses, or cannot.
    """
    number = _MBIND.get(platform.machine())
    if number is None:
        raise OSError(f"limadask does not know how to bind memory on {platform.machine()}")
    mask = sum(1 << node for node in nodes).to_bytes(_BITS // 8, "little")
    _call(
        "syscall", ctypes.c_long(number), ctypes.c_void_p(address(buffer)),
        ctypes.c_ulong(buffer.nbytes), ctypes.c_int(_MPOL_BIND), ctypes.c_char_p(mask),
        ctypes.c_ulong(_BITS + 1), ctypes.c_uint(0),
    )  # fmt: skip


def _call(name: str, *arguments: object) -> None:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError) as error:  # a system other than Linux
        raise OSError(f"this system has no {name}") from error
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
