"""Allocators: where the memory of a pool comes from."""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


class Allocator(Protocol):
    """Makes buffers of bytes."""

    name: ClassVar[str]
    """What it is called, where one is chosen and where memory is shown."""

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return ``nbytes`` bytes, shape ``(nbytes,)``.

        Raises
        ------
        MemoryError
            When they cannot be had.
        """

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Make a buffer ready for other content; False while another process still reads it."""

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Give a buffer's pages back to the system; nobody uses it any more.

        Whoever calls it lets go of it as well: some allocators free memory with its last view.
        """


class PageAllocator:
    """Whole pages straight from the system, touched at once.

    A page costs its fault when it is first written; paid here, before the first frame.
    """

    name: ClassVar[str] = "pages"

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return page-aligned, zeroed bytes, shape ``(nbytes,)``."""
        try:
            pages = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"{nbytes} bytes cannot be allocated: {error}") from error
        buffer = np.frombuffer(pages, np.uint8, nbytes)
        touch(pages, buffer)
        return buffer

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Return True: no other process reads it."""
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Do nothing: it goes with its last view."""


class UntouchedAllocator:
    """Address space alone, without pages: for what is only counted."""

    name: ClassVar[str] = "none"

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return bytes that nobody is to write, shape ``(nbytes,)``."""
        try:
            pages = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"{nbytes} bytes cannot be allocated: {error}") from error
        return np.frombuffer(pages, np.uint8, nbytes)

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Return True: nobody reads it."""
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Do nothing: it goes with its last view."""


def touch(pages: mmap.mmap, buffer: NDArray[np.uint8]) -> None:
    """Let the system find the pages of a buffer now, large ones if it has them."""
    with suppress(AttributeError, OSError):  # not on every system
        pages.madvise(mmap.MADV_HUGEPAGE)
    buffer[:: mmap.PAGESIZE] = 0
