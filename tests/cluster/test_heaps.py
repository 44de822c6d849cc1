"""Heaps of malloc, of which a worker has no more than it needs."""

from __future__ import annotations

import ctypes
import threading

from distributed import Client

from limadask.cluster.settings import SHARED_HEAPS


def heaps(count: int) -> tuple[int, int]:
    """Return how many heaps malloc has here, before and after so many threads allocate."""
    before = described().count(b"<heap ")
    allocated, counted = threading.Barrier(count + 1), threading.Event()

    def allocate() -> None:
        block = bytearray(1 << 20)
        allocated.wait(30)
        counted.wait(30)
        del block

    threads = [threading.Thread(target=allocate) for _ in range(count)]
    for thread in threads:
        thread.start()
    allocated.wait(30)
    after = described().count(b"<heap ")
    counted.set()
    for thread in threads:
        thread.join(30)
    return before, after


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
        most = threads + SHARED_HEAPS
        before, after = client.run(heaps, 2 * most, workers=[worker])[worker]
        assert 2 <= before <= after <= max(before, most)
        assert before < 2 * most, "it would have got no more anyway"
