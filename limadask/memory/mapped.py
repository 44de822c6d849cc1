"""Memory that is part of a file: for bursts that are larger than memory."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.memory.allocator import NamedAllocator
from limadask.memory.traits import Traits

_WITHOUT_DESCRIPTOR: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
"""Before Python 3.13, each buffer keeps a file descriptor."""


class MappedAllocator(NamedAllocator):
    """Files without a name, mapped into memory: the system moves to the disk what memory lacks.

    Room on the disk is taken as a pool takes its slots, the floor's before the first frame, and is
    free again with the last view or the process, however that ends. It does not fall back: plain
    memory would be too small.
    """

    name: ClassVar[str] = "mapped"

    folder: str | None = None
    """A folder on a fast local disk; None takes ``buffers.folder``, and without one the worker's
    own temporary folder."""

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(touched=False, folder=self._folder())

    def absolute(self, folder: Path) -> Self:
        """Return the same allocator, with its relative path taken from ``folder``."""
        return self if self.folder is None else self.replace(folder=str(folder / self.folder))

    def within(self, folder: str) -> Self:
        """Return the same, with files in ``folder`` where it says not where."""
        return self if self.folder is not None else self.replace(folder=folder)

    def open(self, slots: int, slot_nbytes: int) -> Self:
        """Return itself, when the disk has room for all of it."""
        try:
            about = os.statvfs(self._folder())
        except OSError as error:
            raise self._refused(error, "a folder that the worker can write to") from error
        free, needed = about.f_bavail * about.f_frsize, slots * slot_nbytes
        if needed > free:
            text = f"{needed} bytes are needed, {free} are free"
            raise self._refused(text, "a folder on a disk with as much room, or less nbytes")
        return self

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return page-aligned, zeroed bytes of a file of their own, shape ``(nbytes,)``.

        Raises
        ------
        ConfigError
            When there is no such folder, or no room in it.
        """
        size = max(nbytes, 1)
        try:
            with tempfile.TemporaryFile(dir=self._folder()) as file:  # it has no name
                # a write to a page that the disk has no room for would end the process
                os.posix_fallocate(file.fileno(), 0, size)
                pages = mmap.mmap(file.fileno(), size, **_WITHOUT_DESCRIPTOR)
        except OSError as error:
            allowed = f"a folder that the worker can write to, with {size} bytes free"
            raise self._refused(error, allowed) from error
        return np.frombuffer(pages, np.uint8, nbytes)

    def _folder(self) -> str:
        return self.folder or tempfile.gettempdir()

    def _refused(self, reason: object, allowed: str) -> ConfigError:
        return ConfigError(
            f"frames cannot be kept in a file there: {reason}", node="buffers", field="folder",
            value=self._folder(), allowed=allowed,
        )  # fmt: skip
