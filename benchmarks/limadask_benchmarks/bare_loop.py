"""The same work without any framework: what there is to reach.

One thread fills a ring from the simulator's source; THREADS run the same compiled kernels on a
frame at a time, and compress and write direct chunks. Prints frames/s, and CPU seconds a frame.

    python -m limadask_benchmarks.bare_loop FRAMES ROWS COLUMNS SLOTS THREADS [FILE]
"""

from __future__ import annotations

import queue
import sys
import threading
import time

import h5py
import numpy as np
from threadpoolctl import threadpool_limits

from limadask.storage import dataset_options, encoder
from limadask_benchmarks.workload import ROIS, camera, flatfield, runs_of
from limadask_tasks import kernels


def run(
    frames: int, rows: int, columns: int, slots: int, workers: int, path: str = ""
) -> tuple[float, float]:
    """Return frames a second, and CPU seconds a frame."""
    ring = np.zeros((slots, 1, rows, columns), np.uint16)
    free: queue.SimpleQueue[int] = queue.SimpleQueue()
    full: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
    flat, runs, encode = flatfield(rows, columns), runs_of(rows, columns), encoder("bshuf_lz4")
    source = camera(rows, columns).source()
    lock, file = threading.Lock(), h5py.File(path, "w", libver="latest") if path else None
    if file is not None:
        options = dict(dataset_options("bshuf_lz4"), chunks=(1, rows, columns))
        data = file.create_dataset("data", (frames, rows, columns), "f4", **options)

    def receive() -> None:
        for number in range(frames):
            slot = free.get()
            source.fill(number, ring[slot])
            full.put((number, slot))
        for _ in range(workers):
            full.put(None)

    def process() -> None:
        threadpool_limits(1, user_api="openmp")
        out = np.empty((1, 1, rows, columns), np.float32)
        table = np.empty((1, 1, len(ROIS), 6))
        while (item := full.get()) is not None:
            number, slot = item
            kernels.divide(ring[slot][np.newaxis], flat, out)
            free.put(slot)
            kernels.statistics(out, runs, -1, table)
            if file is not None:
                chunk = encode(out[0, 0])
                with lock:
                    data.id.write_direct_chunk((number, 0, 0), chunk)

    for slot in range(slots):
        ring[slot] = 1
        free.put(slot)
    threads = [threading.Thread(target=job) for job in (receive, *workers * [process])]
    began, spent = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if file is not None:
        file.close()
    return frames / (time.perf_counter() - began), (time.process_time() - spent) / frames


if __name__ == "__main__":
    sys.setswitchinterval(1e-4)
    count, height, width, ring_slots, threads = (int(argument) for argument in sys.argv[1:6])
    run(8, height, width, 4, threads)  # compiled kernels, warm memory
    print(*run(count, height, width, ring_slots, threads, *sys.argv[6:7]))  # noqa: T201
