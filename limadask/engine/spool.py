"""Blocks on disk: frames that wait for their processing and that memory has no room for."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from limadask.engine.disk import why_no_disk
from limadask.frames import Frames
from limadask.memory import BUDGET, METERS, Budget, PageAllocator, Tally, Usage
from limadask.memory.loan import lent
from limadask.memory.system import is_in_memory


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
    slot:
        Returns memory that a block of so many bytes is read into, None where fresh pages are to be
        taken; called in any thread.
    uuid:
        The acquisition.
    budget:
        What is asked for room, where the folder is in memory itself.

    Raises
    ------
    OSError
        When no file can be made there.
    """

    def __init__(
        self,
        folder: str,
        block_nbytes: int,
        slot: Callable[[int], NDArray[np.uint8] | None] = lambda nbytes: None,
        uuid: str = "",
        budget: Budget = BUDGET,
    ) -> None:
        self.folder, self._block_nbytes = folder, block_nbytes
        self._slot = slot
        self._file: IO[bytes] | None = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._using, self._lock = threading.Lock(), threading.Lock()
        """Of the file, for as long as the disk takes; and of what is told of it at any time."""
        self._free: list[int] = []
        self._places = 0
        self._uuid, self._budget, self._is_in_memory = uuid, budget, is_in_memory(folder)
        self._read = Tally("hold", uuid)
        METERS.add(self)

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the folder."""
        return [f"frames that are held: {why}" for why in why_no_disk(self.folder)]

    def usage(self) -> Usage:
        """Return what lies on disk, or in memory where the folder is no better."""
        with self._lock:
            most = self._places * self._block_nbytes
            there = 0 if self._file is None else most
            held = there - len(self._free) * self._block_nbytes if there else 0
        if not self._is_in_memory:
            return Usage("hold", self._uuid, on_disk=held)
        return Usage(
            "hold", self._uuid, allocated=there, in_use=held, high_water=most, total=most,
            unmapped=there,
        )  # fmt: skip

    def write(self, frames: Frames) -> Spooled:
        """Put a block on disk.

        Raises
        ------
        OSError
            When that fails, as on a full disk; the block is not there then.
        """
        memory = np.ascontiguousarray(frames.memory)
        place = self._place()
        try:
            with self._using:
                self._put(memory.reshape(-1).view(np.uint8).data, place)
        except OSError:
            self._let_go(place)
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
        memory = self._slot(nbytes)
        if memory is None:
            memory = lent(PageAllocator().allocate(nbytes), self._read.remove, nbytes)
            self._read.add(nbytes)
        with self._using:
            self._get(memory.data, spooled.place)
        self._let_go(spooled.place)
        return spooled.frames.moved(memory.view(spooled.dtype).reshape(spooled.shape))

    def forget(self, spooled: Spooled) -> None:
        """Let another block have the place of one that is not needed any more."""
        self._let_go(spooled.place)

    def close(self) -> None:
        """Give the disk back."""
        with self._using:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _let_go(self, place: int) -> None:
        with self._lock:
            self._free.append(place)

    def _place(self) -> int:
        """Return a place that is free from now on no more."""
        if not self._is_in_memory or self._free:
            return self._next_place()
        with self._budget.room(self._block_nbytes) as is_granted:
            if is_granted:
                return self._next_place()
        raise OSError(errno.ENOSPC, self._budget.refusal(self._block_nbytes))

    def _next_place(self) -> int:
        with self._lock:
            if self._free:
                return self._free.pop()
            self._places += 1
            return self._places - 1

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
