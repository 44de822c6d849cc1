"""Our readers: the receiver alone, and with the acquisition thread."""

from __future__ import annotations

import threading
import time

import numpy as np

from limadask.detector import Deal, End, Frame
from limadask.engine.receiving import Receiving
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.memory import BufferPool
from limadask.parameters import HardwareParameters
from limadask_benchmarks.receive.task import FIRST, NEXT, Clock, Task
from limadask_detectors.dectris.receiver import DectrisReceiver

SLOTS, SLOT = 8, 32 << 20
"""Slots of the pool, and bytes of each."""
PER_BLOCK = 32
"""Frames in a block."""
PATIENCE = 1.0
"""Seconds that a frame waits for others of its block."""


def take(task: Task, clock: Clock) -> None:
    """Let the receiver take images, and let go of them."""
    receiver = _receiver(task)
    deadline = time.monotonic() + FIRST
    try:
        while time.monotonic() < deadline:
            item = receiver.take(NEXT)
            if isinstance(item, Frame):
                clock.tick()
                deadline = time.monotonic() + NEXT
            elif isinstance(item, End):
                return
    finally:
        receiver.close()


class Blocks:
    """Lets the acquisition thread put images into blocks, and lets go of them."""

    def __init__(self) -> None:
        self._pool = BufferPool(SLOTS, SLOT)
        slots = [self._pool.lend((SLOT,), np.uint8) for _ in range(SLOTS)]
        for slot in slots:
            assert slot is not None  # noqa: S101 - so many there are
            slot[...] = 1  # its pages are there from now on

    def __call__(self, task: Task, clock: Clock) -> None:
        """Take a series."""
        receiver, came, ended = _receiver(task), threading.Event(), threading.Event()
        receiver.deal = Deal("dynamic" if task.count > 1 else "single", task.index, task.count)
        images = task.images

        def deliver(block: Frames) -> None:
            clock.tick(len(block.numbers))
            came.set()

        spec = Spec(Grid(images.shape), np.dtype(images.dtype), images.bands, task.frames)
        thread = Receiving(
            receiver, self._pool, spec, PER_BLOCK, PATIENCE, deliver, ended.set,
            keeps=True,
        )  # fmt: skip
        thread.start()
        try:
            is_coming = came.wait(FIRST)
            while is_coming and not ended.is_set():
                came.clear()
                is_coming = came.wait(NEXT + PATIENCE)
        finally:
            thread.stop(abort=True)
            thread.join(FIRST)
            receiver.close()
        if thread.progress.error:
            raise RuntimeError(thread.progress.error)


def _receiver(task: Task) -> DectrisReceiver:
    """Return a receiver that is open and armed."""
    images = task.images
    receiver = DectrisReceiver(task.stream, task.address, task.index, task.count)
    receiver.open()
    receiver.arm(
        HardwareParameters(
            shape=images.shape, dtype=images.dtype, bands=images.bands, nb_frames=task.frames,
            series=str(task.series),
        )
    )  # fmt: skip
    return receiver
