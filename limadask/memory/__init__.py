"""Memory for frames: allocators, pools, and what other processes of the same computer read."""

from limadask.memory.allocator import (
    Allocator,
    NamedAllocator,
    PageAllocator,
    UntouchedAllocator,
)
from limadask.memory.cuda import ManagedAllocator, PinnedAllocator
from limadask.memory.fallback import Fallback
from limadask.memory.huge import HugeAllocator
from limadask.memory.locked import LockedAllocator
from limadask.memory.mapped import MappedAllocator
from limadask.memory.numa import NumaAllocator
from limadask.memory.pool import BufferPool, PoolStatistics
from limadask.memory.pressure import LEVELS, Judge, Level, Pressure
from limadask.memory.reader import SharedReader, opened
from limadask.memory.shared import Handle, Segment, SharedAllocator, SharedMemory
from limadask.memory.traits import Traits
from limadask.memory.usage import METERS, Metered, Meters, Stage, Usage

__all__ = [
    "LEVELS",
    "METERS",
    "Allocator",
    "BufferPool",
    "Fallback",
    "Handle",
    "HugeAllocator",
    "Judge",
    "Level",
    "LockedAllocator",
    "ManagedAllocator",
    "MappedAllocator",
    "Metered",
    "Meters",
    "NamedAllocator",
    "NumaAllocator",
    "PageAllocator",
    "PinnedAllocator",
    "PoolStatistics",
    "Pressure",
    "Segment",
    "SharedAllocator",
    "SharedMemory",
    "SharedReader",
    "Stage",
    "Traits",
    "UntouchedAllocator",
    "Usage",
    "opened",
]
