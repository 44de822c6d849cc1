"""Where the memory of a receiver's pool comes from."""

from __future__ import annotations

from typing import Any

from limadask.engine.disk import why_no_disk
from limadask.memory import (
    Allocator,
    Fallback,
    NamedAllocator,
    PageAllocator,
    SharedAllocator,
    SharedMemory,
    UntouchedAllocator,
)
from limadask.memory.system import is_in_memory
from limadask.parameters import Buffers


class PoolMemory:
    """The memory of one pool, and what is to be told of it.

    Parameters
    ----------
    buffers:
        What the user wants.
    folder:
        Where files go unless he says so.
    stays:
        Whether frames stay where the detector's library has put them: no pool has any memory.
    """

    def __init__(self, buffers: Buffers, folder: str, stays: bool) -> None:
        wanted = buffers.allocator
        self._is_auto, self._stays = wanted == "auto", stays
        self._chosen = wanted if isinstance(wanted, NamedAllocator) else PageAllocator()
        self._chosen = self._chosen.within(buffers.folder or folder)
        self._taken: Allocator = UntouchedAllocator()
        self._warnings: list[str] = []

    @property
    def is_bound(self) -> bool:
        """Whether it is part of what the computer has free, and so bound by that."""
        traits = self._chosen.traits
        is_on_disk = bool(traits.folder) and not is_in_memory(traits.folder)
        return not (traits.reserved or is_on_disk)

    @property
    def is_reserved(self) -> bool:
        """Whether it was set aside before, and no limit of a process counts it."""
        return self._chosen.traits.reserved

    @property
    def pages(self) -> PageAllocator | None:
        """What its pages are like, where other processes may read them; None where they cannot."""
        if isinstance(self._chosen, SharedMemory):
            return PageAllocator()
        return self._chosen if isinstance(self._chosen, PageAllocator) else None

    def open(
        self, slots: int, slot_nbytes: int, shared: SharedAllocator | None, has_readers: bool
    ) -> Allocator:
        """Return what the pool allocates its slots with.

        Parameters
        ----------
        slots, slot_nbytes:
            How many there are, and the bytes of each.
        shared:
            Shared memory that other workers have opened, if there is any.
        has_readers:
            Whether blocks go to other workers.

        Raises
        ------
        ConfigError
            When memory that was asked for cannot be had, and nothing can take its place.
        """
        name = self._chosen.name
        if self._stays:
            if not self._is_auto:
                self._warnings.append(
                    f"allocator {name}: not used, frames stay compressed where they were received"
                )
            return self._taken
        self._taken = Fallback(self._chosen, slots, slot_nbytes, shared)
        if has_readers and self.pages is None:
            self._warnings.append(
                f"allocator {name}: other processes cannot read it, so blocks go to other workers "
                f"by TCP; auto or shared spares their copies on one computer"
            )
        return self._taken

    def told(self) -> dict[str, Any]:
        """Return what it really is, as plain data."""
        return {"name": self._taken.name, **self._taken.traits.told()}

    @property
    def warnings(self) -> list[str]:
        """Why it is not what was asked for."""
        more = self._taken.warnings if isinstance(self._taken, Fallback) else []
        folder = self._taken.traits.folder
        nowhere = why_no_disk(folder) if folder else []
        return [
            *self._warnings,
            *(f"allocator {self._taken.name}: {why}" for why in nowhere),
            *more,
        ]
