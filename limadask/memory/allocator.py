"""Allocators: where the memory of a pool comes from."""

from __future__ import annotations

import mmap
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import SerializerFunctionWrapHandler, model_serializer

from limadask.memory.traits import Traits
from limadask.model import Model

PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
"""Flags of memory that belongs to one process, and to no file."""


class Allocator(Protocol):
    """Makes buffers of bytes."""

    @property
    def name(self) -> str:
        """What it is called, where one is chosen and where memory is shown."""

    @property
    def traits(self) -> Traits:
        """What its memory is like."""

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


class NamedAllocator(Model):
    """An allocator that is chosen by its name: a frozen value, with the parameters of its memory.

    One whose buffers need nothing but themselves has :meth:`allocate`; one that keeps an account
    of them returns another object from :meth:`open`.
    """

    name: ClassVar[str]
    """What it is called, where one is chosen and where memory is shown."""

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits()

    def absolute(self, folder: Path) -> Self:
        """Return the same allocator, with its relative paths taken from ``folder``."""
        return self

    def within(self, folder: str) -> Self:
        """Return the same, with files in ``folder`` where it makes some and says not where."""
        return self

    def open(self, slots: int, slot_nbytes: int) -> Allocator:
        """Return what allocates up to ``slots`` buffers of ``slot_nbytes`` bytes for one pool.

        Raises
        ------
        MemoryError
            When such memory cannot be had here; its message says why, and what to do about it.
        ConfigError
            When plain memory in its place would do harm: then there is no run.
        """
        return self

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return ``nbytes`` bytes, shape ``(nbytes,)``; the errors are those of :meth:`open`."""
        raise NotImplementedError(f"{type(self).__name__} has no allocate: open it first")

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Return True: no other process reads it."""
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Do nothing: it goes with its last view."""

    @model_serializer(mode="wrap")
    def _tagged(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"type": self.name, **fields(self)}


class PageAllocator(NamedAllocator):
    """Whole pages straight from the system, touched at once.

    A page costs its fault when it is first written; paid here, before the first frame. Where the
    system has transparent huge pages, they are asked for.
    """

    name: ClassVar[str] = "pages"

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return page-aligned, zeroed bytes, shape ``(nbytes,)``.

        Raises
        ------
        MemoryError
            When they cannot be had in this way.
        """
        pages, buffer = anonymous(nbytes)
        self.settle(pages, buffer)
        return buffer

    def settle(self, pages: mmap.mmap, buffer: NDArray[np.uint8]) -> None:
        """Let the system find the pages of a buffer, which is a part of ``pages``.

        Allocators that do only this in another way derive from this class: theirs can be shared.

        Raises
        ------
        MemoryError
            When it cannot in this way; its message says why, and what to do about it.
        """
        touch(pages, buffer)


class UntouchedAllocator:
    """Address space alone, without pages: for what is only counted."""

    name: ClassVar[str] = "none"
    traits: ClassVar[Traits] = Traits(touched=False)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return bytes that nobody is to write, shape ``(nbytes,)``."""
        return anonymous(nbytes)[1]

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Return True: nobody reads it."""
        return True

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Do nothing: it goes with its last view."""


def anonymous(nbytes: int) -> tuple[mmap.mmap, NDArray[np.uint8]]:
    """Return address space without pages, and the same as bytes, shape ``(nbytes,)``.

    Raises
    ------
    MemoryError
        When there is not as much.
    """
    try:
        pages = mmap.mmap(-1, max(nbytes, 1), flags=PRIVATE)
    except OSError as error:
        raise MemoryError(f"{nbytes} bytes cannot be allocated: {error}") from error
    return pages, np.frombuffer(pages, np.uint8, nbytes)


def address(array: NDArray[Any]) -> int:
    """Return where an array begins."""
    return int(array.__array_interface__["data"][0])


def touch(pages: mmap.mmap, buffer: NDArray[np.uint8]) -> None:
    """Let the system find the pages of a buffer now, large ones if it has them."""
    with suppress(AttributeError, OSError):  # not on every system
        pages.madvise(mmap.MADV_HUGEPAGE)
    buffer[:: mmap.PAGESIZE] = 0
