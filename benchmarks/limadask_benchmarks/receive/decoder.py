"""Decoding alone: threads that decode images which are in memory.

    python -m limadask_benchmarks.receive.decoder '{"frames": 1000, "threads": 2, "images": {}}'

prints images a second.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

import numpy as np

from limadask.cluster.settings import tune_process, tune_thread
from limadask.frames import Packed
from limadask.storage.decoding import unpack
from limadask_benchmarks.receive.images import Images, many

CODECS: Any = {"bslz4": "bshuf_lz4", "lz4": "lz4", "none": "none"}


def packed(images: Images, payloads: list[bytes]) -> Packed:
    """Return an image as blocks have it."""
    sizes = np.array([[len(one) for one in payloads]], np.int64)
    offsets = np.cumsum(sizes, axis=1) - sizes
    data = np.frombuffer(b"".join(payloads), np.uint8)
    codec = CODECS[images.compression]
    return Packed(data, offsets, sizes, codec, images.shape, np.dtype(images.dtype))


def rate(images: Images, frames: int, threads: int) -> float:
    """Return images a second."""
    blocks = [packed(images, payloads) for payloads in many(images)]

    def decode(count: int) -> None:
        tune_thread()
        out = np.ones(blocks[0].pixels_shape, images.dtype)
        for number in range(count):
            unpack(blocks[number % len(blocks)], out)

    decode(3)
    jobs = [threading.Thread(target=decode, args=(frames // threads,)) for _ in range(threads)]
    began = time.perf_counter()
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return frames // threads * threads / (time.perf_counter() - began)


def main(asked: str) -> None:
    """Decode, and print how fast."""
    fields: dict[str, Any] = json.loads(asked)
    tune_process(fields.get("threads", 1))
    print(rate(Images.of(**fields.pop("images", {})), **fields), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
