"""A pool for results, whose size is known only when the first one comes."""

from __future__ import annotations

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from limadask.memory.allocator import Allocator
from limadask.memory.pool import BufferPool
from limadask.memory.scratch import owned

MOST = 64
"""Results that there is memory for at most: one for each thread, and what user code keeps."""


class FittedPool:
    """Memory for what a node returns: a pool whose slots are as large as the largest so far.

    A task makes one in ``setup``; it is freed when the run is over, and metered as its node's.
    Nothing is lent at first: the pool grows beside the work, as far as the budget allows, and other
    memory is used meanwhile, also where there is none of the allocator's.

    Parameters
    ----------
    allocator:
        Where the memory comes from.
    """

    def __init__(self, allocator: Allocator) -> None:
        self._allocator, self._lock = allocator, threading.Lock()
        self._pool: BufferPool | None = None
        self._uuid, self._node = owned(self)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array, C-contiguous; it holds anything, and is its user's while it lives."""
        return self._of(prod(shape) * np.dtype(dtype).itemsize).array(shape, dtype)

    def free(self) -> None:
        """Give the memory back as soon as nobody has it; a later call begins anew."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.retire()

    def _of(self, nbytes: int) -> BufferPool:
        """Return the pool, a new one where slots are too small."""
        with self._lock:
            smaller = self._pool
            if smaller is not None and smaller.slot_nbytes >= nbytes:
                return smaller
            pool = self._pool = BufferPool(
                0, nbytes, self._allocator, "scratch", self._uuid, self._node, ceiling=MOST
            )
        if smaller is not None:
            smaller.retire()
        return pool
