"""Settings of a worker's process that make pixels fast; set at run time, on any cluster."""

from __future__ import annotations

import ctypes
import gc
import sys
from contextlib import suppress
from typing import Any

from distributed import default_client
from threadpoolctl import threadpool_limits

SWITCH_INTERVAL = 1e-4
"""Seconds a thread may keep the GIL: with Python's 5 ms a receiver starves behind Python tasks."""
GARBAGE = 700, 10, 1
"""After how many new objects, and smaller looks, Python looks for garbage: as usual, but for the
whole look, which is cheap once :func:`freeze_objects` was there. Dask's ``dask worker`` sets thrice
the usual, for all three."""
SHARED_HEAPS = 2
"""Heaps of malloc beside one for each thread that processes. By default every thread has its own,
up to eight times the number of cores, and each heap keeps what its largest blocks once took: a
worker grew in steps for as long as it ran. With fewer, threads that process wait for each other.
Where a process has made more than eight before limadask comes to it, glibc heeds no limit."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_TRIM_BYTES = 512 << 20
_MMAP_BYTES = 32 << 20  # the most that glibc accepts


def tune_process(threads: int) -> dict[str, Any]:
    """Set the switch interval and the allocator; return what was set.

    To be called before the ``threads`` that process start, so that each of them has its own heap.

    Dask's nanny lets malloc give memory back as soon as 64 kB are free, so that every buffer of
    some MB costs its page faults again: up to three times the time of a decompression.
    """
    freeze_objects()
    sys.setswitchinterval(SWITCH_INTERVAL)
    done: dict[str, Any] = {"switch_interval": SWITCH_INTERVAL}
    try:
        libc = ctypes.CDLL(None)
        done["malloc_trim_threshold"] = bool(libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES))
        done["malloc_mmap_threshold"] = bool(libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES))
        done["malloc_arena_max"] = bool(libc.mallopt(_M_ARENA_MAX, threads + SHARED_HEAPS))
    except (OSError, AttributeError) as error:  # another C library than glibc
        done["malloc"] = f"not set: {error}"
    return done


def freeze_objects() -> None:
    """Take what there is by now out of Python's search for garbage; once, in Dask's own processes.

    Who has imported limadask has 200 000 objects that stay. To walk them takes 0.1 s in which no
    other thread runs; so Python does it rarely, Dask's processes once in two million new objects,
    and a scheduler holds the garbage of a thousand acquisitions. Without those objects it is quick,
    and is done whenever a quarter of what is left is new.

    A process with a client is its user's, whose objects may become garbage: it is left alone. So is
    one that does not search at all.
    """
    if _has_client() or not (gc.isenabled() and gc.get_threshold()[0]):
        return
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()
        gc.collect()  # counts what is left: next to nothing
    gc.set_threshold(*GARBAGE)


def _has_client() -> bool:
    try:
        default_client()
    except ValueError:
        return False
    return True


def release_memory() -> None:
    """Give memory back that was only used to prepare: the allocator would keep it for us."""
    with suppress(OSError, AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


def tune_thread() -> None:
    """Keep OpenMP, inside bitshuffle, from starting threads beside ours."""
    threadpool_limits(1, user_api="openmp")
