"""Settings of a worker's process that make pixels fast; set at run time, on any cluster."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Any

from threadpoolctl import threadpool_limits

SWITCH_INTERVAL = 1e-4
"""Seconds a thread may keep the GIL: with Python's 5 ms a receiver starves behind Python tasks."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_TRIM_BYTES = 512 << 20
_MMAP_BYTES = 32 << 20  # the most that glibc accepts


def tune_process() -> dict[str, Any]:
    """Set the switch interval and the allocator; return what was set.

    Dask's nanny lets malloc give memory back as soon as 64 kB are free, so that every buffer of
    some MB costs its page faults again: up to three times the time of a decompression.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    done: dict[str, Any] = {"switch_interval": SWITCH_INTERVAL}
    try:
        libc = ctypes.CDLL(None)
        done["malloc_trim_threshold"] = bool(libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
        done["malloc_mmap_threshold"] = bool(libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES))
    except (OSError, AttributeError) as error:  # another C library than glibc
        done["malloc"] = f"not set: {error}"
    return done


def release_memory() -> None:
    """Give memory back that was only used to prepare: the allocator would keep it for us."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def tune_thread() -> None:
    """Keep OpenMP, inside bitshuffle, from starting threads beside ours."""
    threadpool_limits(1, user_api="openmp")
