"""One HDF5 data file: there whole or not at all, appended to, readable after any fault."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py

from limadask.storage.abandoning import abandon, frame_numbers
from limadask.storage.entry import Entry, Layout
from limadask.storage.recovery import recover
from limadask.version import __version__


class DataFile:
    """One file of a series, with all its entries.

    It is made in memory and written as a whole: HDF5 cannot let go of a file that it could not
    create to the end. After an error of any method nothing more can be appended to it:
    :meth:`abandon` it.

    Raises
    ------
    OSError
        When it cannot be made, or is there already.
    """

    def __init__(self, path: Path, layouts: Sequence[Layout]) -> None:
        self.path, self._layouts = path, layouts
        self._entries: dict[str, Entry[Any]] = {}
        image = _blank(layouts)
        self._file: Any = None
        with open(path, "xb", buffering=0) as made:
            self._identity = _identity(os.fstat(made.fileno()))
            try:
                while image:
                    image = image[made.write(image) :]
                self._open()
            except BaseException:
                self.abandon()
                raise

    def _open(self) -> None:
        """Open it to append; from here on only resize, write and flush."""
        self._file = h5py.File(self.path, "r+", libver="latest")
        self._entries = {one.name: one.opened(self._file[one.name]) for one in self._layouts}
        self._file.swmr_mode = True

    def count(self, entry: str) -> int:
        """Return how many frames an entry holds."""
        return self._entries[entry].count

    @property
    def is_safe(self) -> bool:
        """Whether some frame in it has been flushed."""
        return any(one.safe for one in self._entries.values())

    def append(self, entry: str, part: Any, start: int, limit: int) -> int:
        """Write frames of ``part`` from ``start`` on as far as the entry may grow."""
        return self._entries[entry].append(part, start, limit)

    def flush(self) -> None:
        """Flush every entry."""
        for entry in self._entries.values():
            entry.flush()
        if not self._is_there():
            raise FileNotFoundError(errno.ENOENT, "The file has been removed", str(self.path))
        for entry in self._entries.values():
            entry.safe = entry.count

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self.flush()  # HDF5 cannot let go of a file that it could not flush while closing
            self._file.close()

    def abandon(self) -> dict[str, set[int]]:
        """Let go of a file that cannot be written; return the frames that are safe, by entry.

        It is removed where it holds none.
        """
        if self._file:
            abandon(self._file)
        elif self._is_there():  # HDF5 has closed it, and not cleanly
            with suppress(OSError):
                recover(self.path)
        if not self._is_there():
            return {}
        numbers = {
            name: frame_numbers(self.path, name) if one.count else set()
            for name, one in self._entries.items()
        }
        if not any(numbers.values()) and not self.is_safe:
            with suppress(OSError):
                self.path.unlink()
        return numbers

    def _is_there(self) -> bool:
        """Tell whether the path still leads to this file."""
        try:
            return _identity(os.stat(self.path)) == self._identity
        except OSError:
            return False


def _blank(layouts: Sequence[Layout]) -> bytes:
    """Return a file without frames, as it is on disk."""
    with h5py.File(
        "blank", "w", libver="latest", driver="core", backing_store=False, block_size=1 << 16
    ) as file:
        file.attrs.update(
            NX_class="NXroot", default=layouts[0].name, creator=f"limadask {__version__}"
        )
        for layout in layouts:
            layout.make(file.create_group(layout.name))
        file.flush()
        return bytes(file.id.get_file_image())


def _identity(found: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from others."""
    return found.st_dev, found.st_ino
