"""Reading what another process of the same computer shares."""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.memory.loan import lent
from limadask.memory.shared import COUNTER, Handle, Segment, lock
from limadask.memory.usage import METERS, Usage

_FLAGS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class SharedReader:
    """Maps each segment once, and lends read-only views of it.

    The mapping lasts until the reader and all views are gone, whatever becomes of its owner. Not
    for several threads at a time; views may go away in any.

    Parameters
    ----------
    uuid:
        The acquisition.
    """

    def __init__(self, uuid: str = "") -> None:
        self._uuid = uuid
        self._mapped: dict[str, _Mapped] = {}
        METERS.add(self)

    @property
    def nbytes(self) -> int:
        """Bytes mapped, which count as this process's own when they have been read."""
        return sum(one.nbytes for one in list(self._mapped.values()))

    def usage(self) -> Usage:
        """Return what is mapped."""
        return Usage("receive", self._uuid, mapped=self.nbytes, allocator="shared")

    def open(self, segment: Segment) -> None:
        """Map a segment.

        Raises
        ------
        OSError
            When it cannot be opened: on another computer, in another container, by another user.
        """
        if segment.name not in self._mapped:
            self._mapped[segment.name] = _Mapped(segment)

    def read(self, handle: Handle) -> NDArray[Any] | None:
        """Return a read-only view of an array; None if something else is there by now.

        The owner lends the slot to nobody until the last view is gone.

        Raises
        ------
        KeyError
            When its segment has not been opened.
        """
        return self._mapped[handle.segment.name].read(handle)


class _Mapped:
    """A segment in this process."""

    def __init__(self, segment: Segment) -> None:
        descriptor = opened(segment)
        weakref.finalize(self, os.close, descriptor).atexit = False
        pages = mmap.mmap(descriptor, segment.nbytes, prot=mmap.PROT_READ)
        self.nbytes = segment.nbytes
        self._descriptor, self._bytes = descriptor, np.frombuffer(pages, np.uint8)

    def read(self, handle: Handle) -> NDArray[Any] | None:
        # locks belong to the open file: with one of its own each view can be given back alone
        own = os.open(f"/proc/self/fd/{self._descriptor}", os.O_RDONLY | _FLAGS)
        try:
            is_there = lock(own, handle.slot, fcntl.F_RDLCK) and self._loan(handle) == handle.loan
        except BaseException:
            os.close(own)
            raise
        if not is_there:
            os.close(own)
            return None
        dtype = np.dtype(handle.dtype)
        nbytes = int(np.prod(handle.shape)) * dtype.itemsize
        part = lent(self._bytes[handle.offset : handle.offset + nbytes], os.close, own)
        return part.view(dtype).reshape(handle.shape)

    def _loan(self, handle: Handle) -> int:
        begin = handle.slot * COUNTER
        return int(self._bytes[begin : begin + COUNTER].view(np.int64)[0])


def opened(segment: Segment, access: int = os.O_RDONLY) -> int:
    """Open a segment, and nothing else that happens to have its number; return a descriptor.

    Raises
    ------
    OSError
        When it cannot be opened.
    """
    path = f"/proc/{segment.pid}/fd/{segment.descriptor}"
    if not _is(path, segment):
        raise FileNotFoundError(f"{path} is not the shared memory {segment.name}")
    descriptor = os.open(path, access | _FLAGS)
    if not _is(f"/proc/self/fd/{descriptor}", segment):  # it was closed, and the number given anew
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is not the shared memory {segment.name} any more")
    return descriptor


def _is(path: str, segment: Segment) -> bool:
    return os.readlink(path).startswith(f"/memfd:{segment.name} ")
