"""Huge pages that the system's administrator has set aside."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import PRIVATE, NamedAllocator
from limadask.memory.system import populate
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
        return Traits(page_nbytes=_huge_pages()[0], locked=True, reserved=True)

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return zeroed bytes in huge pages of their own, shape ``(nbytes,)``.

        Raises
        ------
        MemoryError
            When not enough of them are free.
        """
        size, free = _huge_pages()
        needed = -(-max(nbytes, 1) // size)
        try:
            pages = mmap.mmap(-1, needed * size, flags=PRIVATE | _MAP_HUGETLB)
            buffer = np.frombuffer(pages, np.uint8, nbytes)
            populate(pages, buffer, size)  # a control group may allow fewer than there are
        except OSError as error:
            raise MemoryError(
                f"{needed} huge pages of {size >> 10} KiB are needed, {free} are free ({error}); "
                f"more are set aside by `sysctl vm.nr_hugepages=NUMBER`, and a control group may "
                f"use as many as its hugetlb controller says"
            ) from error
        return buffer


def _huge_pages() -> tuple[int, int]:
    """Return the bytes of a huge page, and how many are free."""
    try:
        known = dict(re.findall(r"^(Huge\w+): +(\d+)", MEMINFO.read_text(), re.MULTILINE))
    except OSError:
        known = {}
    return int(known.get("Hugepagesize", 2048)) << 10, int(known.get("HugePages_Free", 0))
