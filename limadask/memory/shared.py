"""Memory that other processes of the same computer can read.

It is an anonymous file (``memfd_create``) that readers open by way of ``/proc``: it has no name in
any folder, is gone with its last user, however that ends, and ``/dev/shm`` may be as small as it
likes. At its beginning there is a counter for each slot, of how often it has been lent. A reader
locks a slot's counter for as long as it has a view of the slot, and gives up when the counter is
not what its handle says; the owner lends no slot whose counter is locked. The kernel gives the
locks of a process back when it ends. So nobody ever sees memory change that he reads.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import uuid
import weakref
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import NamedAllocator, PageAllocator, address
from limadask.memory.system import unlock_pages
from limadask.memory.traits import Traits

COUNTER = 8
"""Bytes of a slot's counter."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Shared memory, as other processes find it.

    Parameters
    ----------
    pid, descriptor:
        The process that made it, and its file descriptor there.
    name:
        Unique; tells it from what another computer's process of that number has open.
    nbytes:
        Its size.
    """

    pid: int
    descriptor: int
    name: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class Handle:
    """Where an array lies in shared memory.

    Parameters
    ----------
    segment:
        The memory.
    slot, loan:
        Which slot of it, and the number of the slot's loan, after which it holds something else.
    offset, shape, dtype:
        The array: its first byte in the segment, and what it is like.
    """

    segment: Segment
    slot: int
    loan: int
    offset: int
    shape: tuple[int, ...]
    dtype: str


class SharedAllocator:
    """Equal slots of one piece of shared memory, touched at once.

    Parameters
    ----------
    slots, slot_nbytes:
        How many buffers can be allocated, and the bytes of each.
    pages:
        What its pages are like; None takes plain ones.

    Raises
    ------
    MemoryError
        When the memory cannot be had, or this system knows no such memory.
    """

    def __init__(self, slots: int, slot_nbytes: int, pages: PageAllocator | None = None) -> None:
        self._kind = pages or PageAllocator()
        self._slots, self._stride = slots, _whole_pages(slot_nbytes)
        self._first = _whole_pages(COUNTER * slots)
        self._unused = list(reversed(range(slots)))
        nbytes, name = self._first + slots * self._stride, f"limadask-{uuid.uuid4().hex}"
        try:
            # refused where there is not as much: the file itself would fail when it is touched
            mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
            self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            weakref.finalize(self, os.close, self._descriptor).atexit = False
            os.ftruncate(self._descriptor, nbytes)
            # a reader's access to a part that is gone would end its process
            fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self._pages = mmap.mmap(self._descriptor, nbytes)
        except (AttributeError, OSError) as error:
            raise MemoryError(f"{nbytes} bytes cannot be shared: {error}") from error
        self.segment = Segment(os.getpid(), self._descriptor, name, nbytes)
        self._bytes = np.frombuffer(self._pages, np.uint8)
        self._counters = self._bytes[: COUNTER * slots].view(np.int64)

    @property
    def name(self) -> str:
        """What it is called where memory is shown."""
        return "shared" if type(self._kind) is PageAllocator else f"shared {self._kind.name}"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return replace(self._kind.traits, shared=True)

    def plain(self) -> SharedAllocator:
        """Return what allocates plain pages for the slots that are left."""
        other = copy(self)
        other._kind = PageAllocator()  # noqa: SLF001 - one of ours
        return other

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return an unused slot's bytes, page-aligned and zeroed, shape ``(nbytes,)``."""
        if not self._unused or nbytes > self._stride:
            raise MemoryError(f"{nbytes} bytes: there are {self._slots} slots of {self._stride}")
        begin = self._first + self._unused[-1] * self._stride
        buffer = self._bytes[begin : begin + nbytes]
        self._kind.settle(self._pages, buffer)
        self._unused.pop()
        return buffer

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Make all handles of a slot worthless; False while another process still reads it."""
        slot = self._slot(self._offset(buffer))
        if not lock(self._descriptor, slot, fcntl.F_WRLCK):
            return False
        self._counters[slot] += 1
        lock(self._descriptor, slot, fcntl.F_UNLCK)
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Give a slot's pages back to the system, for all who have mapped them."""
        slot = self._slot(self._offset(buffer))
        unlock_pages(buffer)  # else the system keeps them
        self._pages.madvise(mmap.MADV_REMOVE, self._first + slot * self._stride, self._stride)
        self._unused.append(slot)

    def handle(self, array: NDArray[Any]) -> Handle | None:
        """Return where another process finds an array; None if it is not all in here."""
        offset = self._offset(array)
        inside = self._first <= offset <= self.segment.nbytes - array.nbytes
        if not inside or not array.flags.c_contiguous:
            return None
        slot = self._slot(offset)
        loan = int(self._counters[slot])
        return Handle(self.segment, slot, loan, offset, array.shape, array.dtype.str)

    def _offset(self, array: NDArray[Any]) -> int:
        return address(array) - address(self._bytes)

    def _slot(self, offset: int) -> int:
        return (offset - self._first) // self._stride


class SharedMemory(NamedAllocator):
    """Shared memory, from which other workers of the computer process without a copy."""

    name: ClassVar[str] = "shared"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(shared=True)

    def open(self, slots: int, slot_nbytes: int) -> SharedAllocator:
        """Return what allocates the slots of one piece of shared memory."""
        return SharedAllocator(slots, slot_nbytes)


def lock(descriptor: int, slot: int, kind: int) -> bool:
    """Lock a slot for reading or writing, or unlock it; False if others have locked it.

    The lock belongs to the open file, not to the process, and ends when that is closed.
    """
    # flock: type, whence, start, length, and a process number that must be 0
    wanted = struct.pack("hhqqi0q", kind, os.SEEK_SET, slot * COUNTER, COUNTER, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)
    except BlockingIOError:
        return False
    return True


def _whole_pages(nbytes: int) -> int:
    return -(-max(nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
