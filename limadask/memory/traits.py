"""What memory is like."""

from __future__ import annotations

import mmap
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Traits:
    """What is promised of an allocator's memory.

    Parameters
    ----------
    page_nbytes:
        Bytes of a page; of huge ones a processor needs fewer entries to know where they are.
    touched:
        Whether its pages are there before the first frame.
    locked:
        Whether it is never swapped out.
    nodes:
        NUMA nodes that it is bound to; empty where it may be on any.
    shared:
        Whether other processes of the computer can read it.
    device:
        What else reaches it by itself, such as ``cuda``; empty for the processor alone.
    folder:
        Where the file is that it is part of; empty where it is none.
    reserved:
        Whether it was set aside before, so that it is no part of what the computer has free, nor of
        what a process is said to have.
    """

    page_nbytes: int = mmap.PAGESIZE
    touched: bool = True
    locked: bool = False
    nodes: tuple[int, ...] = ()
    shared: bool = False
    device: str = ""
    folder: str = ""
    reserved: bool = False

    def told(self) -> dict[str, Any]:
        """Return what is not as plain memory is, as plain data."""
        plain = asdict(Traits())
        return {name: one for name, one in asdict(self).items() if one != plain[name]}
