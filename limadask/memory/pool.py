"""Pools of buffers that are lent and come back by themselves."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from limadask.memory.allocator import Allocator, PageAllocator
from limadask.memory.loan import lent
from limadask.memory.usage import METERS, Stage, Usage

POLL = 1e-3
"""Seconds after which a free slot that another process still reads is looked at again."""


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What a pool holds and has lent.

    Parameters
    ----------
    slots:
        Slots there are.
    slot_nbytes:
        Bytes of each.
    free:
        Slots not lent at the moment.
    lowest:
        Fewest that were ever free.
    lent:
        Loans so far.
    """

    slots: int
    slot_nbytes: int
    free: int
    lowest: int
    lent: int


class BufferPool:
    """A bounded number of equal slots of memory.

    A slot comes back when the last array that views it is gone, wherever that is: in a task, in
    Dask's store, in a message on its way. It is lent again when its allocator agrees: another
    process may still read shared memory.

    Parameters
    ----------
    slots:
        How many there are.
    slot_nbytes:
        Bytes of each.
    allocator:
        Where the memory comes from.
    stage, uuid:
        What it is for, and of which acquisition.

    Raises
    ------
    MemoryError
        When the memory cannot be had.
    """

    def __init__(
        self,
        slots: int,
        slot_nbytes: int,
        allocator: Allocator | None = None,
        stage: Stage = "receive",
        uuid: str = "",
    ) -> None:
        self.slots, self.slot_nbytes = slots, slot_nbytes
        self._stage, self._uuid = stage, uuid
        # slots come back from destructors, at any moment: SimpleQueue.put allows just that, and a
        # deque too. What came back last is lent first: it may still be in the cache
        self._free: deque[NDArray[np.uint8]] = deque()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock, self._lowest, self._lent = threading.Lock(), slots, 0
        self._retired = False
        self._gone: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._allocator = allocator or PageAllocator()
        for _ in range(slots):
            self._put(self._allocator.allocate(slot_nbytes))
        METERS.add(self)

    def lend(
        self, shape: tuple[int, ...], dtype: DTypeLike, timeout: float = 0
    ) -> NDArray[Any] | None:
        """Lend a slot as an array; None when none is free within ``timeout`` seconds.

        Raises
        ------
        ValueError
            When the array does not fit into a slot.
        """
        dtype = np.dtype(dtype)
        nbytes = prod(shape) * dtype.itemsize
        if nbytes > self.slot_nbytes:
            raise ValueError(f"{shape} {dtype} needs {nbytes} bytes, a slot has {self.slot_nbytes}")
        memory = self._take(timeout)
        if memory is None:
            return None
        with self._lock:
            self._lent += 1
            self._lowest = min(self._lowest, self._tokens.qsize())
        return lent(memory, self._take_back, memory)[:nbytes].view(dtype).reshape(shape)

    def retire(self) -> None:
        """Lend nothing more: give free memory back, and the rest as soon as it comes back."""
        self._retired = True
        with suppress(queue.Empty):
            while True:
                self._tokens.get_nowait()
                self._free.pop()
                self._gone.put(None)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it has at the moment."""
        return (self.slots - self._gone.qsize()) * self.slot_nbytes

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        if self._retired:
            self._gone.put(None)
        else:
            self._put(memory)

    def _put(self, memory: NDArray[np.uint8]) -> None:
        self._free.append(memory)
        self._tokens.put(None)

    def usage(self) -> Usage:
        """Return what the pool holds, as everything that holds memory does."""
        known, size = self.statistics(), self.slot_nbytes
        return Usage(
            self._stage,
            self._uuid,
            allocated=self.nbytes,
            in_use=self.nbytes - known.free * size,
            high_water=(known.slots - known.lowest) * size,
            total=known.slots * size,
            loans=known.lent,
            allocator=self._allocator.name,
        )

    def statistics(self) -> PoolStatistics:
        """Return what the pool holds and has lent."""
        with self._lock:
            return PoolStatistics(
                self.slots, self.slot_nbytes, self._tokens.qsize(), self._lowest, self._lent
            )

    def _take(self, timeout: float) -> NDArray[np.uint8] | None:
        """Take a free slot that nobody reads any more."""
        deadline = time.monotonic() + timeout
        while True:
            for _ in range(max(1, self._tokens.qsize())):
                left = deadline - time.monotonic()
                try:
                    self._tokens.get(block=left > 0, timeout=max(left, 0))
                except queue.Empty:
                    return None
                memory = self._free.pop()
                if self._allocator.renew(memory):
                    return memory
                self._free.appendleft(memory)  # others may be ready
                self._tokens.put(None)
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL)
