"""Locks memory as a user who may lock little; prints the pool's allocator and what it warns of."""

from __future__ import annotations

import json
import os
import resource
import sys

from limadask.memory import BufferPool, Fallback, LockedAllocator


def main() -> None:
    slots, nbytes, limit = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
    if os.getuid() == 0:  # who may lock all there is
        os.setuid(65534)
    allocator = Fallback(LockedAllocator(), slots, nbytes)
    pool = BufferPool(slots, nbytes, allocator)
    print(json.dumps([allocator.name, allocator.warnings, pool.statistics().free]))


if __name__ == "__main__":
    main()
