"""A detector and its receivers, driven as the core drives them, in one process without Dask."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from limadask.detector import Deal, Detector, Receiver, hardware_grid, part_of, share
from limadask.engine.receiving import Receiving
from limadask.frames import Frames, Spec, Status, packed_bound
from limadask.memory import BufferPool
from limadask.parameters import AcquisitionParameters, Dispatch, HardwareParameters
from limadask.storage import sound, unpacked
from limadask.testing.ending import Ending

PER_BLOCK = 4
PATIENCE = 5.0
"""Seconds that a receiver may take to return from ``take`` before it is closed all the same."""
LOOK = 0.05
"""Seconds between two looks at how a run goes on."""
SLOTS, LEAST = 64, 3
"""Blocks that the pool of each receiver holds, and of large images."""
NBYTES = 1 << 28
"""Bytes of a pool; its memory is really there, and a test has several."""


@dataclass
class Taken:
    """What one receiver has taken.

    Parameters
    ----------
    numbers:
        Frame numbers, as they came.
    images:
        Pixels of each, shape ``(band, y, x)``.
    timestamps:
        When their exposures began, UTC nanoseconds.
    partial:
        Frames that lack pixels.
    """

    numbers: list[int] = field(default_factory=list)
    images: list[NDArray[np.generic]] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    partial: list[int] = field(default_factory=list)

    def add(self, frames: Frames) -> None:
        """Take a block; its memory is copied, and goes back."""
        frames = unpacked(sound(frames))
        self.numbers += frames.numbers.tolist()
        self.timestamps += frames.timestamps.tolist()
        self.images += [np.array(one) for one in frames.pixels]
        self.partial += frames.numbers[frames.status == Status.PARTIAL].tolist()


class Rig:
    """Opens, prepares, arms, starts, stops and closes a detector with its receivers.

    Each of them works on a copy of the detector that went by pickle, as on workers.

    Parameters
    ----------
    detector:
        The detector.
    asked:
        What is asked of it.
    dispatch, receivers:
        How its frames are dealt, and to how many.
    """

    def __init__(
        self,
        detector: Detector,
        asked: AcquisitionParameters,
        dispatch: Dispatch = "single",
        receivers: int = 1,
    ) -> None:
        self.control, self.asked = _copied(detector), asked
        self.deals = [Deal(dispatch, index, receivers) for index in range(receivers)]
        self.receivers: list[Receiver] = []
        self.threads: list[Receiving] = []
        self.taken = [Taken() for _ in self.deals]
        self.hardware: HardwareParameters | None = None
        self._endpoints: tuple[str, ...] = ()
        self._ended = threading.Semaphore(0)

    def open(self) -> None:
        """Let all receivers listen."""
        for deal in self.deals:
            receiver = _copied(self.control).receiver(deal.index, deal.count)
            receiver.deal = deal
            self.receivers.append(receiver)
        self._endpoints = tuple(receiver.open() for receiver in self.receivers)

    def prepare(self) -> HardwareParameters:
        """Configure the detector; return what it took."""
        can = self.control.capabilities()
        info = self.control.info()
        shared = share(self.asked, info, can)
        self.hardware = self.control.prepare(shared.hardware, self._endpoints)
        self._info = self.control.as_armed(info)
        return self.hardware

    def arm(self) -> None:
        """Make all receivers ready."""
        for receiver in self.receivers:
            receiver.arm(self.took)

    def start(self) -> None:
        """Start all receivers, then the detector."""
        for receiver, deal, taken in zip(self.receivers, self.deals, self.taken, strict=True):
            spec = self.spec(deal)
            nbytes = PER_BLOCK * packed_bound(spec.frame_nbytes, len(spec.bands))
            pool = BufferPool(max(LEAST, min(SLOTS, NBYTES // nbytes)), nbytes)
            self.threads.append(
                Receiving(receiver, pool, spec, PER_BLOCK, 0.1, taken.add, self._ended.release)
            )
            self.threads[-1].start()
        self.control.start()

    def trigger(self) -> None:
        """Give a software trigger."""
        self.control.trigger()
        for receiver in self.receivers:
            receiver.trigger()

    def pause(self) -> None:
        """Pause the detector, then the receivers."""
        self.control.pause()
        for thread in self.threads:
            thread.pause()

    def resume(self) -> None:
        """Let them go on."""
        self.control.resume()
        for thread in self.threads:
            thread.resume()

    def stop(self, abort: bool) -> None:
        """Stop the detector, then the receivers."""
        self.control.stop(abort)
        for thread in self.threads:
            thread.stop(abort)
        for receiver in self.receivers if not self.threads else ():  # it has not begun
            receiver.stop(abort)

    def wait(self, bound: float) -> None:
        """Wait for the end of all receivers; those that see none are stopped as the core does.

        Raises
        ------
        AssertionError
            When one does not end in time, or ends with an error, or the detector cannot go on.
        """
        deadline = time.monotonic() + bound
        is_dealt = any(not one.is_known for one in self.deals)
        ending, is_told, left = Ending(self.took.nb_frames, is_dealt), False, len(self.threads)
        while left:
            left -= self._ended.acquire(timeout=LOOK)
            took = [len(one.numbers) for one in self.taken]
            if not is_told:
                assert not (fault := self.control.fault()), f"the detector: {fault}"
                one_has_ended = is_dealt and left < len(self.threads)
                is_told = ending.is_due(sum(took), one_has_ended or self.control.is_over())
                if is_told and left:
                    self.stop(abort=False)
            in_time = time.monotonic() < deadline
            assert in_time, f"not all receivers have ended within {bound} s; frames taken: {took}"
        for thread in self.threads:
            thread.join(bound)
            assert not thread.progress.error, thread.details

    def close(self) -> None:
        """Give everything back, once nothing is received any more."""
        for thread in self.threads:
            if thread.is_alive():
                thread.stop(abort=True)
                thread.join(PATIENCE)
        for receiver in self.receivers:
            receiver.close()
        self.control.close()

    def run(self, bound: float) -> list[Taken]:
        """Take all frames from the first call to the last; return them by receiver."""
        calls: list[Callable[[], object]] = [self.open, self.prepare, self.arm, self.start]
        try:
            for call in calls:
                call()
            self.wait(bound)
        finally:
            self.close()
        return self.taken

    @property
    def took(self) -> HardwareParameters:
        """What the detector took."""
        if self.hardware is None:
            raise RuntimeError("the detector is not prepared")
        return self.hardware

    def spec(self, deal: Deal) -> Spec:
        """Return what a receiver is to deliver."""
        took, info = self.took, self._info
        grid = hardware_grid(info, took)
        if deal.dispatch == "partial":
            part = part_of(info, deal)
            grid = grid.crop(part.y, part.x, part.height, part.width)
        return Spec(grid, np.dtype(took.dtype), took.bands, took.nb_frames or None)


def _copied(detector: Detector) -> Detector:
    copied: Detector = pickle.loads(pickle.dumps(detector))  # noqa: S301 - our own
    return copied
