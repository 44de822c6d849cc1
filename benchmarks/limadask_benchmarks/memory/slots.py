"""What a slot of a pool costs: to lend it and to give it back, and to fill it.

Against memory that is asked for anew each time: `np.empty` of the same size, whose pages the system
has to find when they are first written.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from limadask.memory import (
    BufferPool,
    HugeAllocator,
    LockedAllocator,
    MappedAllocator,
    PageAllocator,
    PinnedAllocator,
    SharedAllocator,
)
from limadask_benchmarks.results import Figure, paired, paired_cost

Say = Callable[[str], object]
MIB = 1 << 20
NBYTES = 32 * MIB
"""Bytes of a slot: a block of 16 frames of 1 Mpixel uint16."""
SLOTS = 4
LOANS = 2000
"""Loans that are timed together."""
FILLS = 8
REPEATS = 7
ALLOCATORS = PageAllocator, LockedAllocator, HugeAllocator, MappedAllocator, PinnedAllocator
"""Kinds of memory; those that cannot be had are left out, and named."""
Ask = Callable[[], NDArray[np.uint8]]


def slots(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure microseconds for a loan that nobody writes to, of plain and of shared memory."""
    figures = []
    for name, ask in _pools(say).items():
        pairs = [(_loan(ask), _loan(_fresh)) for _ in range(repeats + 1)][1:]
        figures.append(paired_cost(f"lend_{name}", pairs))
        say(f"lend_{name}: {figures[-1].value:.2f} µs to lend {NBYTES // MIB} MiB and to take them "
            f"back; np.empty {figures[-1].limit:.2f}")  # fmt: skip
    return figures


def touch(say: Say, repeats: int = REPEATS) -> list[Figure]:
    """Measure GB/s at which a block is written: into a warm slot, and into fresh pages."""
    figures = []
    for name, ask in _pools(say).items():
        pairs = [(_fill(ask), _fill(_pages)) for _ in range(repeats + 1)][1:]
        figures.append(paired(f"fill_{name}", pairs))
        say(f"fill_{name}: {figures[-1].value:.1f} GB/s into slots that are warm, "
            f"{figures[-1].limit:.1f} into fresh pages")  # fmt: skip
    return figures


def _pools(say: Say) -> dict[str, Ask]:
    """Return what lends slots of each kind of memory that can be had here."""
    pools = {"shared": BufferPool(SLOTS, NBYTES, SharedAllocator(SLOTS, NBYTES))}
    for one in ALLOCATORS:
        try:
            pools[one.name] = BufferPool(SLOTS, NBYTES, one())
        except MemoryError as error:
            say(f"{one.name}: not measured ({error})")
    return {name: _lending(pool) for name, pool in sorted(pools.items())}


def _lending(pool: BufferPool) -> Ask:
    def lend() -> NDArray[np.uint8]:
        memory = pool.lend((NBYTES,), np.uint8)
        if memory is None:
            raise RuntimeError("a slot has not come back")
        return memory

    return lend


def _fresh() -> NDArray[np.uint8]:
    return np.empty(NBYTES, np.uint8)


def _pages() -> NDArray[np.uint8]:
    """Return pages that nobody has touched; malloc might return some that it has kept."""
    return np.frombuffer(
        mmap.mmap(-1, NBYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8
    )


def _loan(ask: Ask) -> float:
    """Return the microseconds of a loan."""
    began = time.perf_counter()
    for _ in range(LOANS):
        ask()  # and gives it back at once
    return (time.perf_counter() - began) / LOANS * 1e6


def _fill(ask: Ask) -> float:
    """Return GB/s."""
    for seconds in _filled(ask, 1):  # what is warm has been written before
        del seconds
    return NBYTES * FILLS / sum(_filled(ask, FILLS)) / 1e9


def _filled(ask: Ask, count: int) -> Iterator[float]:
    for number in range(count):
        began = time.perf_counter()
        ask()[:] = number
        yield time.perf_counter() - began
