"""Memory by which a worker and its ranks hand arrays to each other.

Values are pickled; what their arrays hold goes into the memory, and is read there without a copy.
"""

from __future__ import annotations

import mmap
import os
import pickle
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.memory import Segment, opened

ALIGNMENT = 64
Bytes = NDArray[np.uint8]


class Memory:
    """An anonymous file that others of this computer can map; pages never touched cost nothing."""

    def __init__(self, nbytes: int) -> None:
        name = f"limadask-{uuid.uuid4().hex}"
        descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        os.ftruncate(descriptor, nbytes)
        self.segment = Segment(os.getpid(), descriptor, name, nbytes)
        self.bytes: Bytes = np.frombuffer(mmap.mmap(descriptor, nbytes), np.uint8)


def mapped(segment: Segment, *, writable: bool = False) -> Bytes:
    """Map the memory of another process, which lasts as long as the array.

    Raises
    ------
    OSError
        When it cannot be opened: on another computer, in another container, by another user.
    """
    descriptor = opened(segment, os.O_RDWR if writable else os.O_RDONLY)
    try:
        access = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        return np.frombuffer(mmap.mmap(descriptor, segment.nbytes, prot=access), np.uint8)
    finally:
        os.close(descriptor)


def packed(value: Any, memory: Callable[[int], Bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    """Pickle a value; return the pickle, and where its arrays' bytes lie in the memory.

    Parameters
    ----------
    value:
        What is handed over; its arrays must be contiguous.
    memory:
        Returns memory of at least so many bytes.
    """
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [np.frombuffer(one.raw(), np.uint8) for one in buffers]
    spans, end = [], 0
    for view in views:
        spans.append((end, end + view.nbytes))
        end += -(-view.nbytes // ALIGNMENT) * ALIGNMENT
    room = memory(end)
    for view, (start, stop) in zip(views, spans, strict=True):
        np.copyto(room[start:stop], view)  # without the GIL
    return body, spans


def unpacked(
    body: bytes, spans: list[tuple[int, int]], memory: Bytes, *, copy: bool = False
) -> Any:
    """Return a value whose arrays lie in the memory, or in copies of it."""
    parts = [memory[start:stop] for start, stop in spans]
    return pickle.loads(body, buffers=[one.copy() for one in parts] if copy else parts)  # noqa: S301
