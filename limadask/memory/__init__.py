"""Memory for frames: allocators, pools, and what other processes of the same computer read."""

from limadask.memory.allocator import Allocator, PageAllocator, UntouchedAllocator
from limadask.memory.pool import BufferPool, PoolStatistics
from limadask.memory.reader import SharedReader, opened
from limadask.memory.shared import Handle, Segment, SharedAllocator
from limadask.memory.usage import METERS, Metered, Meters, Stage, Usage

__all__ = [
    "METERS",
    "Allocator",
    "BufferPool",
    "Handle",
    "Metered",
    "Meters",
    "PageAllocator",
    "PoolStatistics",
    "Segment",
    "SharedAllocator",
    "SharedReader",
    "Stage",
    "UntouchedAllocator",
    "Usage",
    "opened",
]
