"""An allocator of memory that a driver sets aside for a card."""

from __future__ import annotations

import mmap
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.memory import NamedAllocator, Traits


class Region(NamedAllocator):
    """A region that a driver keeps free for a card, such as one of CMA; it is mapped as a file."""

    name: ClassVar[str] = "region"

    device: str
    """Its file, such as ``/dev/udmabuf0``."""

    @property
    def traits(self) -> Traits:
        return Traits(locked=True, device="card")

    def open(self, slots: int, slot_nbytes: int) -> RegionSlots:
        return RegionSlots(self, slots, slot_nbytes)


class RegionSlots:
    """The slots of one pool in a region, and which of them are free."""

    name = Region.name

    def __init__(self, region: Region, slots: int, slot_nbytes: int) -> None:
        self.traits = region.traits
        self._stride = -(-slot_nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            with open(region.device, "r+b", buffering=0) as file:
                pages = mmap.mmap(file.fileno(), slots * self._stride)
        except (OSError, ValueError) as error:
            raise MemoryError(f"{slots} slots cannot be mapped from {region.device} ({error}); "
                              f"load its driver with a larger size") from error  # fmt: skip
        self._memory = np.frombuffer(pages, np.uint8).reshape(slots, self._stride)
        self._free = list(range(slots))

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        if not self._free:
            raise MemoryError("no slot of the region is free")
        slot = self._free.pop()
        self._memory[slot] = 0
        return self._memory[slot, :nbytes]

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        return True  # no other process reads it

    def free(self, buffer: NDArray[np.uint8]) -> None:
        offset = buffer.ctypes.data - self._memory.ctypes.data
        self._free.append(offset // self._stride)
