"""A test pattern as a detector: the 30 lines of the plugin guide."""

from __future__ import annotations

import time

import numpy as np
from pydantic import PositiveInt

import limadask as ld


class Checkerboard(ld.Detector):
    """Shows a checkerboard whose bright squares hold the frame number."""

    shape: tuple[PositiveInt, PositiveInt] = (64, 64)
    """Rows and columns."""
    square: PositiveInt = 8
    """Pixels along a square."""

    def info(self) -> ld.DetectorInfo:
        return ld.DetectorInfo(model="checkerboard", shape=self.shape, dtype="uint32")

    def receiver(self, index: int, count: int) -> CheckerboardReceiver:
        return CheckerboardReceiver((np.indices(self.shape) // self.square).sum(0, "u4") % 2)


class CheckerboardReceiver(ld.Receiver):
    def __init__(self, pattern: np.ndarray) -> None:
        super().__init__()
        self.pattern, self.index, self.ended = pattern, 0, False

    def arm(self, hardware: ld.HardwareParameters) -> None:
        self.hardware = hardware

    def start(self) -> None:
        self.started = time.monotonic()

    def take(self, timeout: float) -> ld.Frame | ld.End | None:
        if self.ended or self.index == self.hardware.nb_frames != 0:
            return ld.End()
        due = self.started + (self.index + 1) * self.hardware.period
        time.sleep(min(timeout, max(0.0, due - time.monotonic())))
        if time.monotonic() < due:
            return None
        np.multiply(self.pattern, self.index, out=self.given.popleft()[0])
        self.index += 1
        return ld.Frame(self.index - 1)

    def stop(self, abort: bool) -> None:
        self.ended = True
