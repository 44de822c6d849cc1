"""Pages that are never swapped out."""

from __future__ import annotations

import mmap
import resource
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import PageAllocator
from limadask.memory.system import lock_pages
from limadask.memory.traits import Traits


class LockedAllocator(PageAllocator):
    """Pages that stay in memory (``mlock``): none is swapped out when other programs need much."""

    name: ClassVar[str] = "locked"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(locked=True)

    def settle(self, pages: mmap.mmap, buffer: NDArray[np.uint8]) -> None:
        """Lock the pages of a buffer; a MemoryError where the system refuses to lock as many."""
        super().settle(pages, buffer)
        try:
            lock_pages(buffer)
        except OSError as error:
            raise MemoryError(
                f"{buffer.nbytes} bytes cannot be locked ({error}): RLIMIT_MEMLOCK is {_limit()} "
                f"for the whole process; raise it with `ulimit -l` or `LimitMEMLOCK=`"
            ) from error


def _limit() -> str:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} bytes"
