"""Pages that are never swapped out."""

from __future__ import annotations

import resource
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import NamedAllocator, PageAllocator
from limadask.memory.system import lock_pages
from limadask.memory.traits import Traits


class LockedAllocator(NamedAllocator):
    """Pages that stay in memory (``mlock``): none is swapped out when other programs need much."""

    name: ClassVar[str] = "locked"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(locked=True)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return page-aligned, zeroed, locked bytes, shape ``(nbytes,)``.

        Raises
        ------
        MemoryError
            When the system refuses to lock as many.
        """
        buffer = PageAllocator().allocate(nbytes)
        try:
            lock_pages(buffer)
        except OSError as error:
            raise MemoryError(
                f"{nbytes} bytes cannot be locked ({error}): RLIMIT_MEMLOCK is {_limit()} for the "
                f"whole process; raise it with `ulimit -l` or `LimitMEMLOCK=`"
            ) from error
        return buffer


def _limit() -> str:
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return "unlimited" if limit == resource.RLIM_INFINITY else f"{limit} bytes"
