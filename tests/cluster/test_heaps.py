"""Heaps of malloc, of which a worker has no more than it needs."""

from __future__ import annotations

import ctypes
import threading

from distributed import Client

from limadask.cluster.settings import SHARED_HEAPS

THREADS = 16


def heaps() -> int:
    """Return how many heaps malloc has in this process, when many threads have allocated."""
    allocated, counted = threading.Barrier(THREADS + 1), threading.Event()

    def allocate() -> None:
        block = bytearray(1 << 20)
        allocated.wait(30)
        counted.wait(30)
        del block

    threads = [threading.Thread(target=allocate) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    allocated.wait(30)
    count = described().count(b"<heap ")
    counted.set()
    for thread in threads:
        thread.join(30)
    return count


def described() -> bytes:
    """Return what glibc tells of its heaps, as XML."""
    libc = ctypes.CDLL(None)
    libc.open_memstream.restype = ctypes.c_void_p
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    told = ctypes.string_at(text, size.value)
    libc.free(text)
    return told


def test_threads_that_do_not_process_share_heaps(client: Client) -> None:
    for worker, threads in client.nthreads().items():
        assert 2 <= client.run(heaps, workers=[worker])[worker] <= threads + SHARED_HEAPS
