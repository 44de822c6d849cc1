"""Receivers of DECTRIS streams at work, for tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from oracle import decompress

from limadask.detector import End, Frame, Lost
from limadask.parameters import HardwareParameters
from limadask_benchmarks.receive.images import Images
from limadask_benchmarks.receive.order import Order
from limadask_benchmarks.receive.sender import Sender
from limadask_detectors.dectris.receiver import DectrisReceiver

Stream = Literal["v1", "stream2"]
BOUND = 20.0
"""Seconds that anything may take."""
LOST = "decode_error"


def hardware(images: Images, series: str = "1", **more: Any) -> HardwareParameters:
    """What a detector with such images was armed for."""
    given = {"shape": images.shape, "dtype": images.dtype, "bands": images.bands, **more}
    return HardwareParameters(series=series, nb_frames=0, **given)


@contextmanager
def receiver(
    sender: Sender, series: str = "1", stream: Stream = "stream2", index: int = 0, count: int = 1,
    passive: bool = False, **armed: Any,
) -> Iterator[DectrisReceiver]:  # fmt: skip
    """A receiver that is open and armed."""
    made = DectrisReceiver(stream, sender.address, index, count, passive)
    try:
        made.open()
        made.arm(hardware(sender.images, series, **armed))
        made.start()
        yield made
    finally:
        made.close()


def taken(receiver: DectrisReceiver) -> list[Frame | Lost]:
    """Everything until the end."""
    found: list[Frame | Lost] = []
    deadline = time.monotonic() + BOUND
    while not isinstance(item := receiver.take(0.05), End):
        assert time.monotonic() < deadline, f"no end; until now {numbers(found)}"
        if item is not None:
            found.append(item)
    return found


def first(receiver: DectrisReceiver) -> Frame | Lost | End:
    """What comes next."""
    item = receiver.take(BOUND)
    assert item is not None, f"nothing comes within {BOUND} s"
    return item


def numbers(items: Sequence[Frame | Lost | End]) -> list[int]:
    """The images that came."""
    return [item.index for item in items if isinstance(item, Frame)]


def lost(items: Sequence[Frame | Lost]) -> list[int]:
    """The images that came and could not be read."""
    assert all(item.cause == LOST for item in items if isinstance(item, Lost))
    return [item.first for item in items if isinstance(item, Lost)]


def pixels(frame: Frame, images: Images) -> NDArray[Any]:
    """The pixels of a frame, ``(band, y, x)``."""
    size = np.dtype(images.dtype).itemsize
    names = {"bshuf_lz4": "bslz4", "lz4": "lz4"}
    raw = [
        bytes(one) if frame.codec == "none"
        else decompress(bytes(one), names[frame.codec], elem_size=size)
        for one in frame.chunks
    ]  # fmt: skip
    return np.stack([np.frombuffer(one, images.dtype).reshape(images.shape) for one in raw])


def order(**fields: Any) -> Order:
    """A series of ten images."""
    return Order(**{"frames": 10, **fields})


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for something that nothing tells of."""
    deadline = time.monotonic() + BOUND
    while not is_so():
        assert time.monotonic() < deadline, f"it is not so within {BOUND} s"
        threading.Event().wait(0.01)
