"""Blocks on disk: frames that wait for their processing and that memory has no room for."""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from typing import IO

import numpy as np

from limadask.frames import Frames
from limadask.memory import METERS, Allocator, PageAllocator, Tally, Usage
from limadask.memory.loan import lent


@dataclass(frozen=True, slots=True)
class Spooled:
    """A block on disk.

    Parameters
    ----------
    place:
        Which of the spool's places it has.
    frames:
        Everything but its pixels, or chunks.
    shape, dtype:
        Of the memory that these lie in.
    """

    place: int
    frames: Frames
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class Spool:
    """A file of equal places, each of which holds one block as it is.

    The file has no name: it is gone with the process, however that ends. Places are used again.

    Parameters
    ----------
    folder:
        Where it is made.
    block_nbytes:
        Bytes of the largest block.
    allocator:
        Where the memory comes from that blocks are read into.
    uuid:
        The acquisition.

    Raises
    ------
    OSError
        When no file can be made there.
    """

    def __init__(
        self, folder: str, block_nbytes: int, allocator: Allocator | None = None, uuid: str = ""
    ) -> None:
        self.folder, self._block_nbytes = folder, block_nbytes
        self._allocator = allocator or PageAllocator()
        self._file: IO[bytes] | None = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._lock = threading.Lock()
        self._free: list[int] = []
        self._places = 0
        self._uuid = uuid
        self._read = Tally("hold", uuid)
        METERS.add(self)

    def usage(self) -> Usage:
        """Return what lies on disk."""
        with self._lock:
            held = 0 if self._file is None else self._places - len(self._free)
            places = self._places
        size = self._block_nbytes
        return Usage("hold", self._uuid, on_disk=held * size, high_water=places * size)

    def write(self, frames: Frames) -> Spooled:
        """Put a block on disk.

        Raises
        ------
        OSError
            When that fails, as on a full disk; the block is not there then.
        """
        memory = np.ascontiguousarray(frames.memory)
        with self._lock:
            place = self._free.pop() if self._free else self._places
            self._places = max(self._places, place + 1)
            try:
                self._put(memory.reshape(-1).view(np.uint8).data, place)
            except OSError:
                self._free.append(place)
                raise
        bare = frames.moved(np.empty((0, *memory.shape[1:]), memory.dtype))
        return Spooled(place, bare, memory.shape, memory.dtype)

    def read(self, spooled: Spooled) -> Frames:
        """Take a block back into memory; its place is free then.

        Raises
        ------
        OSError
            When it cannot be read.
        """
        nbytes = int(np.prod(spooled.shape)) * spooled.dtype.itemsize
        memory = self._allocator.allocate(nbytes)
        self._read.add(nbytes)
        memory = lent(memory, self._read.remove, nbytes)
        with self._lock:
            self._get(memory.data, spooled.place)
            self._free.append(spooled.place)
        return spooled.frames.moved(memory.view(spooled.dtype).reshape(spooled.shape))

    def forget(self, spooled: Spooled) -> None:
        """Let another block have the place of one that is not needed any more."""
        with self._lock:
            self._free.append(spooled.place)

    def close(self) -> None:
        """Give the disk back."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _put(self, data: memoryview, place: int) -> None:
        if self._file is None:
            raise FileNotFoundError("the spool is closed")
        offset = place * self._block_nbytes
        while data:
            written = os.pwrite(self._file.fileno(), data, offset)
            data, offset = data[written:], offset + written

    def _get(self, memory: memoryview, place: int) -> None:
        if self._file is None:
            raise FileNotFoundError("the spool is closed")
        offset = place * self._block_nbytes
        while memory:
            got = os.preadv(self._file.fileno(), [memory], offset)
            if not got:
                raise OSError(f"{len(memory)} bytes of a block are missing in {self.folder}")
            memory, offset = memory[got:], offset + got
