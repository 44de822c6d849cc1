"""The bundled detectors stand what every plugin must."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from limadask.detector import Detector
from limadask.testing import DetectorConformance
from limadask_detectors import Replay, Simulator

SHAPE = (64, 48)


class TestSimulator(DetectorConformance):
    """One module, which is not dealt in parts."""

    def detector(self) -> Detector:
        return Simulator(shape=SHAPE, bands=["low", "high"])

    def image(self, detector: Detector, number: int) -> NDArray[Any] | None:
        assert isinstance(detector, Simulator)
        return detector.frame(number).values


class TestSimulatorThatLends(TestSimulator):
    """Buffers of its own, several modules."""

    def detector(self) -> Detector:
        return Simulator(shape=(68, 48), modules=2, gap=4, buffers="lend")


class TestSimulatorThatCompresses(TestSimulator):
    """Chunks instead of pixels."""

    def detector(self) -> Detector:
        return Simulator(shape=SHAPE, bands=["low", "high"], compression="bshuf_lz4")


class TestReplay(DetectorConformance):
    """Frames from a file."""

    nb_frames: ClassVar[int] = 12
    expo_time: ClassVar[float | None] = None
    images: ClassVar[NDArray[np.uint16]] = np.random.default_rng(1).integers(
        0, 1000, (12, *SHAPE), np.uint16
    )

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "images.h5"
        with h5py.File(self.path, "w") as file:
            file["entry/data/data"] = self.images

    def detector(self) -> Detector:
        return Replay(path=str(self.path), loop=True)

    def image(self, detector: Detector, number: int) -> NDArray[Any] | None:
        return self.images[number % 12][np.newaxis]
