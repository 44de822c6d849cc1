"""What there is to reach: each format written by hand, with the same codecs and nothing else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zmq
from fabio.cbfimage import CbfImage
from numcodecs import Blosc
from numpy.typing import NDArray

from limadask.frames import Frames
from limadask.storage import dataset_options, encoder
from limadask_benchmarks.save.work import SHAPE, SPEC, Pace, timed
from limadask_tasks.stream2_messages import Messages


def hdf5(folder: Path) -> Pace:
    """Compress, and write direct chunks into one file."""
    encode, lock = encoder("bshuf_lz4"), threading.Lock()
    file = h5py.File(folder / "loop.h5", "w", libver="latest")
    options = dict(dataset_options("bshuf_lz4"), chunks=(1, *SHAPE))
    data = file.create_dataset("data", (SPEC.nb_frames, *SHAPE), "u2", **options)

    def save(block: Frames) -> None:
        for number, frame in zip(block.numbers.tolist(), block.pixels, strict=True):
            chunk = encode(frame[0])
            with lock:
                data.id.write_direct_chunk((number, 0, 0), chunk)

    return timed(save, file.close)


def zarr(folder: Path) -> Pace:
    """Compress, write a file for each frame, and rename it."""
    codec = Blosc("zstd", 1, Blosc.BITSHUFFLE)
    (folder / "loop").mkdir(exist_ok=True)

    def save(block: Frames) -> None:
        for number, frame in zip(block.numbers.tolist(), block.pixels, strict=True):
            path = f"{folder}/loop/c.{number}.0.0"
            with open(f"{path}.tmp", "wb", buffering=0) as file:
                file.write(codec.encode(frame[0]))
            os.rename(f"{path}.tmp", path)

    return timed(save, lambda: None)


def images(folder: Path) -> Pace:
    """Let fabio write each frame as CBF."""

    def save(block: Frames) -> None:
        for number, frame in zip(block.numbers.tolist(), block.pixels, strict=True):
            header = {"frame": str(number)}
            CbfImage(data=frame[0].astype(np.int32), header=header).write(
                f"{folder}/loop_{number:05d}.cbf"
            )

    return timed(save, lambda: None)


def zmq_stream(address: str) -> Pace:
    """Compress, make messages, and send them."""
    encode, messages = encoder("bshuf_lz4"), Messages(SPEC, "bench", {})

    def message(number: int, frame: NDArray[Any]) -> bytes:
        return messages.image(number, 0, [encode(frame[0])], "bshuf_lz4")

    return _sent(address, message)


def zmq_raw(address: str) -> Pace:
    """Send the bytes of the pixels."""
    return _sent(address, lambda _, frame: frame.tobytes())


def write(folder: Path) -> Pace:
    """Write the bytes of the pixels to a file for each thread."""
    here = threading.local()
    files = []

    def save(block: Frames) -> None:
        if not hasattr(here, "file"):
            here.file = open(folder / f"{threading.get_ident()}.raw", "wb", buffering=0)  # noqa: SIM115
            files.append(here.file)
        for frame in block.pixels:
            here.file.write(frame.data)

    def close() -> None:
        for file in files:
            file.close()

    return timed(save, close)


def _sent(address: str, message: Callable[[int, NDArray[Any]], bytes]) -> Pace:
    lock, context = threading.Lock(), zmq.Context()
    socket = context.socket(zmq.PUSH)
    socket.sndhwm, socket.linger = 64, 5000
    socket.bind(address)

    def save(block: Frames) -> None:
        for number, frame in zip(block.numbers.tolist(), block.pixels, strict=True):
            made = message(number, frame)
            with lock:
                socket.send(made, copy=False)

    def close() -> None:
        socket.close()
        context.term()  # once all is sent

    return timed(save, close)
