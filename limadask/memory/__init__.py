"""Memory: allocators and pools."""

from limadask.memory.allocator import Allocator, PageAllocator
from limadask.memory.pool import BufferPool, PoolStatistics

__all__ = ["Allocator", "BufferPool", "PageAllocator", "PoolStatistics"]
