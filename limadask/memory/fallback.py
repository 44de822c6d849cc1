"""What is taken where a chosen allocator fails."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from limadask.memory.allocator import Allocator, NamedAllocator, PageAllocator, address
from limadask.memory.shared import SharedAllocator
from limadask.memory.traits import Traits

logger = logging.getLogger(__name__)


class Fallback:
    """An allocator that takes plain pages from where on the chosen one fails, and says why.

    Parameters
    ----------
    chosen:
        What the user wants.
    slots, slot_nbytes:
        How many buffers will be allocated, and the bytes of each.
    shared:
        Shared memory with pages of the chosen one's kind, of which all are to be; if any.

    Raises
    ------
    ConfigError
        When the chosen one does not want to be replaced.
    """

    def __init__(
        self,
        chosen: NamedAllocator,
        slots: int,
        slot_nbytes: int,
        shared: SharedAllocator | None = None,
    ) -> None:
        self._asked, self.warnings = chosen.name, list[str]()
        self._pages: Allocator = shared.plain() if shared else PageAllocator()
        self._chosen: Allocator = self._pages
        self._plain: set[int] = set()
        self._fell_back, self._nb_chosen = False, 0
        try:
            self._chosen = shared or chosen.open(slots, slot_nbytes)
        except MemoryError as error:
            self._fall_back(error)

    @property
    def name(self) -> str:
        """What its memory really is; two names where a part of it fell back."""
        if not self._fell_back:
            return self._chosen.name
        chosen = [self._chosen.name] if self._nb_chosen else []
        return "+".join(dict.fromkeys([*chosen, self._pages.name]))

    @property
    def traits(self) -> Traits:
        """What can be said of all its memory."""
        return (self._pages if self._fell_back else self._chosen).traits

    def allocate(self, nbytes: int) -> NDArray[np.uint8]:
        """Return ``nbytes`` bytes, shape ``(nbytes,)``."""
        if not self._fell_back:
            try:
                buffer = self._chosen.allocate(nbytes)
            except MemoryError as error:
                self._fall_back(error)
            else:
                self._nb_chosen += 1
                return buffer
        buffer = self._pages.allocate(nbytes)
        self._plain.add(address(buffer))
        return buffer

    def renew(self, buffer: NDArray[np.uint8]) -> bool:
        """Make a buffer ready for other content; False while another process still reads it."""
        return self._maker(buffer).renew(buffer)

    def free(self, buffer: NDArray[np.uint8]) -> None:
        """Give a buffer's pages back to the system."""
        maker = self._maker(buffer)
        self._plain.discard(address(buffer))
        maker.free(buffer)

    def _maker(self, buffer: NDArray[np.uint8]) -> Allocator:
        return self._pages if address(buffer) in self._plain else self._chosen

    def _fall_back(self, error: MemoryError) -> None:
        self._fell_back = True
        text = f"allocator {self._asked}: {error}. Plain pages are taken instead"
        self.warnings.append(text)
        logger.warning("%s", text)
