"""How much memory a pool may have on a worker."""

from __future__ import annotations

from dask.utils import parse_bytes

PROCESS_NBYTES = 300 << 20
"""Bytes of a worker's process besides its pool."""


def pool_nbytes(memory_limit: int | None) -> tuple[int, int | None]:
    """Return the bytes of a receiver's pool: by default, and at most.

    Dask begins to spill at 60 % of the limit and pauses at 80 %: a pool that brings the process
    there would stop the run for ever, so it must leave room for the process itself.
    """
    default = parse_bytes("1 GiB")
    if not memory_limit:
        return default, None
    most = max(0, int(0.6 * memory_limit) - PROCESS_NBYTES)
    return min(default, memory_limit // 4, most), most
