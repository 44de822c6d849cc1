"""The simulator's receiver: frames at the pace of the exposure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.detector import DetectorInfo, End, Frame, Lost, Receiver, part_of
from limadask.parameters import HardwareParameters
from limadask.storage import encoder
from limadask_detectors.simulator.cut import Cut
from limadask_detectors.simulator.faults import Faults
from limadask_detectors.simulator.images import Bank
from limadask_detectors.simulator.shutter import Coming, DealtShutter, OwnShutter, Shutter

AHEAD = 4
"""Frames that a camera which deals them may send in advance to a receiver without buffers."""


class SimulatorReceiver(Receiver):
    """Makes frames when their exposure is over.

    Parameters
    ----------
    info:
        What the camera is.
    bank:
        Makes a full frame.
    buffers:
        Whether given buffers are filled, or own ones lent.
    realtime:
        Whether frames are lost when nobody takes them in time.
    faults:
        What goes wrong.
    compression:
        How images are compressed; None hands pixels over.
    """

    def __init__(
        self,
        info: DetectorInfo,
        bank: Callable[[], Bank],
        buffers: Literal["fill", "lend"],
        realtime: bool,
        faults: Faults,
        compression: Literal["none", "bshuf_lz4"] | None = None,
    ) -> None:
        super().__init__()
        self.packs = compression is not None
        self._codec, self._encode = compression or "none", encoder(compression or "none")
        self._info = info
        self._make_bank, self._buffers, self._realtime = bank, buffers, realtime
        self._faults = faults
        self._shutter: Shutter | None = None
        self._queue: deque[Coming] = deque()
        self._held: Coming | None = None
        self._new = AHEAD if self.packs else 0

    def open(self) -> str:
        """Listen to the camera, where it deals its frames one by one."""
        if self.deal.dispatch != "dynamic":
            return ""
        self._shutter = dealt = DealtShutter(self.host)
        return dealt.address

    def arm(self, hardware: HardwareParameters) -> None:
        """Draw the bank of frames."""
        self._hardware, self._bank = hardware, self._make_bank()
        partial = self.deal.dispatch == "partial"
        self._cut = Cut(hardware, part_of(self._info, self.deal) if partial else None)
        if partial and self._faults.receivers and self.deal.index not in self._faults.receivers:
            self._faults = Faults()
        if self._shutter is None:
            self._shutter = OwnShutter(hardware, self._faults, self._realtime, self.deal)

    def start(self) -> None:
        """Begin the first exposure."""
        self._armed().start()

    def trigger(self) -> None:
        """Expose some frames more."""
        self._armed().trigger()

    def pause(self) -> None:
        """Let the exposure that has begun be the last for a while."""
        self._armed().pause()

    def resume(self) -> None:
        """Begin the next exposure now."""
        self._armed().resume()

    def give(self, buffer: NDArray[Any]) -> None:
        """Accept an empty buffer."""
        super().give(buffer)
        self._new += 1

    def take_back(self, buffer: NDArray[Any]) -> None:
        """Accept a buffer again."""
        super().take_back(buffer)
        self._new += 1

    def take(self, timeout: float) -> Frame | Lost | End | None:
        """Return the next frame when its exposure is over."""
        shutter = self._armed()
        if self._new:
            shutter.give(self._new)
            self._new = 0
        if self._queue:
            return self._frame(*self._queue.popleft())
        coming = shutter.next(timeout)
        if isinstance(coming, tuple):
            self._new += 1  # the buffer that it was sent for may not be needed: see _frame
            return self._expose(*coming)
        if isinstance(coming, End) and self._held is not None:
            held, self._held = self._held, None
            return self._frame(*held)
        return coming

    def stop(self, abort: bool) -> None:
        """End before the next frame."""
        if self._shutter is not None:
            self._shutter.stop()

    def close(self) -> None:
        """Close the connection to the camera."""
        if self._shutter is not None:
            self._shutter.close()

    def _armed(self) -> Shutter:
        if self._shutter is None:
            raise RuntimeError("the receiver of the simulator was not armed")
        return self._shutter

    def _expose(self, number: int, stamp: int) -> Frame | Lost | None:
        """Return a frame, or what becomes of it."""
        faults = self._faults
        if faults.happens("corrupt", number) and not self.packs:
            return Lost(number, number, "decode_error")
        if faults.happens("overrun", number):
            return Lost(number, number, "overrun")
        if faults.happens("drop", number):
            return None
        if faults.happens("reorder", number) and self._held is None:
            self._held = number, stamp  # until the next one has come
            return None
        if self._held is not None:
            self._queue.append(self._held)
            self._held = None
        if faults.happens("duplicate", number):
            self._queue.append((number, stamp))
        return self._frame(number, stamp)

    def _frame(self, number: int, stamp: int) -> Frame:
        hardware = self._hardware
        self._new -= not self.packs  # without buffers it may be sent as many frames as before
        frame = Frame(number, timestamp=stamp)
        frame.values = number * hardware.period, hardware.expo_time
        if self.packs or self._buffers == "lend":
            pixels = np.empty((len(hardware.bands), *self._cut.shape), self._cut.dtype)
        else:
            pixels = self.given.popleft()
        self._cut.fill(self._bank, number, pixels)
        if self.packs:
            frame.codec, frame.chunks = self._codec, self._chunks(number, pixels)
        elif self._buffers == "lend":
            frame.lent = pixels
        if self._faults.happens("lose_packets", number):
            frame.complete, frame.cause = False, "packets_lost"
            frame.invalid = self._faults.lost_rows(number, self._cut.shape)
        return frame

    def _chunks(self, number: int, pixels: NDArray[Any]) -> list[bytes]:
        """Return the bands compressed; those of a corrupt frame are cut off."""
        chunks = [bytes(self._encode(band)) for band in pixels]
        return [one[:-1] for one in chunks] if self._faults.happens("corrupt", number) else chunks
