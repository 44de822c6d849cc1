"""Memory for frames: allocators, pools, and what other processes of the same computer read."""

from limadask.memory.allocator import Allocator, PageAllocator, UntouchedAllocator
from limadask.memory.pool import BufferPool, PoolStatistics
from limadask.memory.reader import SharedReader, opened
from limadask.memory.shared import Handle, Segment, SharedAllocator

__all__ = [
    "Allocator",
    "BufferPool",
    "Handle",
    "PageAllocator",
    "PoolStatistics",
    "Segment",
    "SharedAllocator",
    "SharedReader",
    "UntouchedAllocator",
    "opened",
]
