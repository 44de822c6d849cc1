"""Pools of buffers that are lent and come back by themselves."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from limadask.memory.allocator import Allocator, PageAllocator, UntouchedAllocator, address
from limadask.memory.budget import BUDGET, Budget
from limadask.memory.keeper import KEEPER, Keeper
from limadask.memory.loan import lent
from limadask.memory.pool_statistics import PoolStatistics
from limadask.memory.system import is_in_memory
from limadask.memory.usage import METERS, Stage, Tally, Usage

logger = logging.getLogger(__name__)
POLL = 1e-3
"""Seconds after which a free slot that another process still reads is looked at again."""
IDLE = 5
"""Looks of the keeper during which slots were not needed, before they are given back."""
RETRY = 5.0
"""Seconds after which growing is tried again where it was refused."""


class BufferPool:
    """Equal slots of memory: as many as are needed, between a floor and a ceiling.

    A slot comes back when the last array that views it is gone, wherever that is: in a task, in
    Dask's store, in a message on its way. It is lent again when its allocator agrees: another
    process may still read shared memory.

    The floor is there from the beginning, touched. More slots are made ahead of need, by another
    thread, when few are free; they are given back when they have not been needed for some seconds.

    Parameters
    ----------
    slots:
        The floor.
    slot_nbytes:
        Bytes of each.
    allocator:
        Where the memory comes from.
    stage, uuid, node:
        What it is for, of which acquisition and node.
    ceiling:
        Slots there may be; None for no more than the floor.
    budget:
        What it asks before it grows.
    keeper:
        What makes it grow and shrink.

    Raises
    ------
    MemoryError
        When the memory cannot be had, or the budget has no room for the floor.
    """

    def __init__(
        self,
        slots: int,
        slot_nbytes: int,
        allocator: Allocator | None = None,
        stage: Stage = "receive",
        uuid: str = "",
        node: str = "",
        ceiling: int | None = None,
        budget: Budget = BUDGET,
        keeper: Keeper = KEEPER,
    ) -> None:
        self.floor, self.ceiling, self.slot_nbytes = slots, ceiling or slots, slot_nbytes
        self._owner, self._budget, self._keeper = (stage, uuid, node), budget, keeper
        # slots come back from destructors, at any moment: SimpleQueue.put allows just that, and a
        # deque too. What came back last is lent first: it may still be in the cache
        self._free: deque[NDArray[np.uint8]] = deque()
        self._tokens: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._slots = self._being_made = self._made = self._lent = self._highest = 0
        self._reserved_being_made = 0
        self._least_free, self._free_before = 0, deque[int](maxlen=IDLE)
        self._retired = self._has_asked = False
        self._refused, self._retry = "", 0.0
        self._beside: Tally | None = None
        self._allocator = allocator or PageAllocator()
        folder = self._allocator.traits.folder
        self._is_file = bool(folder) and not is_in_memory(folder)
        is_none = isinstance(self._allocator, UntouchedAllocator) or self._is_file
        self._counted = 0 if is_none else slot_nbytes  # bytes of a slot that are memory
        self._reserved = set[int]()  # where slots begin that were set aside before
        METERS.add(self)
        while self._slots < slots:
            self._add_slot()
        if self.ceiling > slots:
            keeper.add(self)

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
        if self._retired:
            return None
        self._look_ahead()  # a refusal may have been for a while only
        memory = self._take(timeout)
        if memory is None:
            return None
        with self._lock:
            free = self._tokens.qsize()
            self._lent += 1
            self._least_free = min(self._least_free, free)
            self._highest = max(self._highest, self._slots - free)
        self._look_ahead()
        return lent(memory, self._take_back, memory)[:nbytes].view(dtype).reshape(shape)

    def lend_spare(self, nbytes: int) -> NDArray[np.uint8] | None:
        """Lend a slot as bytes, but the last one, which whoever fills the pool may need; or None.

        What comes back from disk lies in the pool so, as long as there is room, and is shared where
        the pool is.
        """
        return self.lend((nbytes,), np.uint8) if self._tokens.qsize() > 1 else None

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Lend a slot as an array, or other memory where none is free or large enough.

        Such memory goes when the last array that views it is gone, and is metered till then.
        """
        dtype = np.dtype(dtype)
        nbytes = prod(shape) * dtype.itemsize
        array = self.lend(shape, dtype) if nbytes <= self.slot_nbytes else None
        if array is not None:
            return array
        with self._lock:
            beside = self._beside = self._beside or Tally(*self._owner)
        beside.add(nbytes)
        memory = lent(np.empty(nbytes, np.uint8), beside.remove, nbytes)
        return memory.view(dtype).reshape(shape)

    def retire(self) -> None:
        """Lend nothing more: give free memory back, and the rest soon after it comes back."""
        self._retired, self._refused = True, "it lends nothing any more"
        self._settle()
        if not self.is_gone:
            self._keeper.see_off(self)

    def grow(self) -> None:
        """Add slots until enough are free, or give back what is; may take its time."""
        self._has_asked = False
        while self._is_short() and not self._retired:
            try:
                self._add_slot()
            except Exception as error:  # any allocator's code
                self._refused = str(error) or type(error).__name__
                self._retry = time.monotonic() + RETRY
            else:
                self._refused = "" if not self._retired else self._refused
        self._settle()

    def shrink(self) -> None:
        """Give back slots that were not needed during the last :data:`IDLE` calls."""
        self._settle()
        with self._lock:
            self._free_before.append(self._least_free)
            self._least_free = self._tokens.qsize()
            is_known = len(self._free_before) == IDLE
            # twice what makes it grow: it is not to make the same slots over and over
            spare = min(self._free_before) - 2 * self._ahead
            surplus = min(spare, self._slots - self.floor) if is_known else 0
            if surplus > 0:
                self._free_before.clear()
        for _ in range(surplus):
            self._drop_slot()

    @property
    def slots(self) -> int:
        """Slots that there are at the moment."""
        return self._slots

    @property
    def is_retired(self) -> bool:
        """Whether it lends nothing any more."""
        return self._retired

    @property
    def is_gone(self) -> bool:
        """Whether it lends nothing any more, and all its memory has been given back."""
        return self._retired and not self._present

    @property
    def uuid(self) -> str:
        """The acquisition it is for."""
        return self._owner[1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it has at the moment; none where it is a file, or not touched."""
        return self._present * self._counted

    @property
    def _present(self) -> int:
        """Slots that there are, those counted that are being made."""
        return self._slots + self._being_made

    def usage(self) -> Usage:
        """Return what the pool holds, as everything that holds memory does."""
        with self._lock:
            out = self._slots - self._tokens.qsize()
            return Usage(
                *self._owner,
                allocated=self.nbytes,
                in_use=max(0, out) * self._counted,
                high_water=self._highest * self._counted,
                total=self._made * self._counted,
                loans=self._lent,
                allocator=self._allocator.name,
                on_disk=self._present * self.slot_nbytes if self._is_file else 0,
                reserved=(len(self._reserved) + self._reserved_being_made) * self._counted,
            )

    def statistics(self) -> PoolStatistics:
        """Return what the pool holds and has lent."""
        with self._lock:
            return PoolStatistics(
                self._slots,
                self.slot_nbytes,
                self._tokens.qsize(),
                self.ceiling - self._highest,
                self._lent,
                self.ceiling,
                self._highest,
                self._refused,
            )

    @property
    def _ahead(self) -> int:
        """Free slots that are to be there at least: the next is made while one is filled."""
        return max(1, self._slots // 4)

    def _look_ahead(self) -> None:
        """Ask for more slots if few are free."""
        if not self._has_asked and self._is_short():
            self._has_asked = True
            self._keeper.ask(self)

    def _is_short(self) -> bool:
        is_short = self._slots < self.ceiling and self._tokens.qsize() < self._ahead
        return is_short and time.monotonic() >= self._retry

    def _add_slot(self) -> None:
        is_reserved = self._allocator.traits.reserved
        with self._budget.room(0 if is_reserved else self._counted) as is_granted:
            self._being_made += is_granted
            self._reserved_being_made += is_granted and is_reserved
        if not is_granted:
            raise MemoryError(self._budget.refusal(self.slot_nbytes))
        try:
            memory = self._allocator.allocate(self.slot_nbytes)
            if is_reserved:
                self._check_fallback(memory)
        except BaseException:
            with self._lock:
                self._being_made -= 1
                self._reserved_being_made -= is_reserved
            raise
        with self._lock:  # it counts at any moment: the budget would give its room away
            self._being_made -= 1
            self._reserved_being_made -= is_reserved
            self._slots += 1
            self._made += 1
            if is_reserved and self._allocator.traits.reserved:
                self._reserved.add(address(memory))
            self._put(memory)

    def _check_fallback(self, memory: NDArray[np.uint8]) -> None:
        """Let go of memory that was to be set aside, is not, and that there is no room for."""
        if self._allocator.traits.reserved:
            return
        with self._budget.room(self._counted) as is_granted:
            pass
        if not is_granted:
            self._give_back(memory)
            raise MemoryError(self._budget.refusal(self.slot_nbytes))

    def _drop_slot(self) -> None:
        """Give back the slot that was not used for longest, if it is free and nobody reads it."""
        try:
            self._tokens.get_nowait()
        except queue.Empty:
            return
        memory = self._free.popleft()
        if not self._is_unread(memory):
            self._put(memory)
            return
        self._give_back(memory)
        del memory
        with self._lock:
            self._slots -= 1

    def _settle(self) -> None:
        """Give back what a retired pool has, but for what another process still reads."""
        for _ in range(self._tokens.qsize() if self._retired else 0):
            self._drop_slot()

    def _is_unread(self, memory: NDArray[np.uint8]) -> bool:
        """Tell whether a slot that is given back may go: no other process reads it."""
        try:
            return self._allocator.renew(memory)
        except Exception:  # any allocator's code; the slot is not used any more
            logger.exception("a slot of %d bytes cannot be made ready", self.slot_nbytes)
            return True

    def _give_back(self, memory: NDArray[np.uint8]) -> None:
        with self._lock:
            self._reserved.discard(address(memory))
        try:
            self._allocator.free(memory)
        except Exception:  # any allocator's code; the slot is not used any more
            logger.exception("a slot of %d bytes could not be given back", self.slot_nbytes)

    def _take_back(self, memory: NDArray[np.uint8]) -> None:
        self._put(memory)
        if self._retired:
            self._keeper.ask(self)  # an allocator's code is not for destructors

    def _put(self, memory: NDArray[np.uint8]) -> None:
        self._free.append(memory)
        self._tokens.put(None)

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
