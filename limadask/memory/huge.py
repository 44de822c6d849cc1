"""Huge pages that the system's administrator has set aside."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import PRIVATE, NamedAllocator
from limadask.memory.traits import Traits

MEMINFO = Path("/proc/meminfo")
_MAP_HUGETLB = 0x40000  # Python has no name for it


class HugeAllocator(NamedAllocator):
    """Huge pages of the system's pool (``vm.nr_hugepages``), which are never swapped out.

    Transparent huge pages need no such pool: ``pages`` asks for these already.
    """

    name: ClassVar[str] = "huge"

    @property
    def traits(self) -> Traits:
        """What its memory is like."""
        return Traits(page_nbytes=_huge_pages()[0], locked=True)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return zeroed bytes in huge pages of their own, shape ``(nbytes,)``.

        Raises
        ------
        MemoryError
            When not enough of them are free.
        """
        size, free = _huge_pages()
        needed = -(-max(nbytes, 1) // size)
        try:  # they are set aside for us here: touching them cannot fail
            pages = mmap.mmap(-1, needed * size, flags=PRIVATE | _MAP_HUGETLB)
        except OSError as error:
            raise MemoryError(
                f"{needed} huge pages of {size >> 10} KiB are needed, {free} are free ({error}); "
                f"more are set aside by `sysctl vm.nr_hugepages=NUMBER`"
            ) from error
        buffer = np.frombuffer(pages, np.uint8, nbytes)
        buffer[::size] = 0
        return buffer


def _huge_pages() -> tuple[int, int]:
    """Return the bytes of a huge page, and how many are free."""
    try:
        known = dict(re.findall(r"^(Huge\w+): +(\d+)", MEMINFO.read_text(), re.MULTILINE))
    except OSError:
        known = {}
    return int(known.get("Hugepagesize", 2048)) << 10, int(known.get("HugePages_Free", 0))
