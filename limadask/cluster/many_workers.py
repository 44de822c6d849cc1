"""Several Dask workers in one process: ``python -m … SCHEDULER COUNT``."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from distributed import Worker


async def host(scheduler: str, count: int) -> None:
    """Run ``count`` workers of one thread each, until they are told to end."""
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                Worker(scheduler, nthreads=1, memory_limit=0, host="127.0.0.1", dashboard=False)
            )
            for _ in range(count)
        ]
        await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    asyncio.run(host(sys.argv[1], int(sys.argv[2])))
