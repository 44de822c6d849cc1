"""Memory for frames: allocators, pools, and what other processes of the same computer read."""

from limadask.memory.allocator import (
    Allocator,
    NamedAllocator,
    PageAllocator,
    UntouchedAllocator,
)
from limadask.memory.budget import BUDGET, Budget
from limadask.memory.cuda import ManagedAllocator, PinnedAllocator
from limadask.memory.fallback import Fallback
from limadask.memory.fitted import FittedPool
from limadask.memory.huge import HugeAllocator
from limadask.memory.locked import LockedAllocator
from limadask.memory.mapped import MappedAllocator
from limadask.memory.numa import NumaAllocator
from limadask.memory.pool import BufferPool
from limadask.memory.pool_statistics import PoolStatistics
from limadask.memory.pressure import LEVELS, Judge, Level, Pressure
from limadask.memory.reader import SharedReader, opened
from limadask.memory.scratch import Freed, Memory, Scratch, owning
from limadask.memory.shared import Handle, Segment, SharedAllocator, SharedMemory
from limadask.memory.traits import Traits
from limadask.memory.usage import METERS, Metered, Meters, Stage, Tally, Usage

__all__ = [
    "BUDGET",
    "LEVELS",
    "METERS",
    "Allocator",
    "Budget",
    "BufferPool",
    "Fallback",
    "FittedPool",
    "Freed",
    "Handle",
    "HugeAllocator",
    "Judge",
    "Level",
    "LockedAllocator",
    "ManagedAllocator",
    "MappedAllocator",
    "Memory",
    "Metered",
    "Meters",
    "NamedAllocator",
    "NumaAllocator",
    "PageAllocator",
    "PinnedAllocator",
    "PoolStatistics",
    "Pressure",
    "Scratch",
    "Segment",
    "SharedAllocator",
    "SharedMemory",
    "SharedReader",
    "Stage",
    "Tally",
    "Traits",
    "UntouchedAllocator",
    "Usage",
    "opened",
    "owning",
]
