"""The bundled detectors stand what every plugin must."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from emulators.camera import Camera, Cameras, cameras
from emulators.eiger import Eiger, eiger, eiger_home, eiger_process
from numpy.typing import NDArray

from limadask.detector import Detector
from limadask.testing import DetectorConformance
from limadask_detectors import Dectris, Replay, Simulator

__all__ = ["cameras", "eiger", "eiger_home", "eiger_process"]
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


class DectrisConformance(DetectorConformance):
    """A control unit and a stream of our own, over real sockets."""

    extra: ClassVar[tuple[str, ...]] = ("httpx", "zmq")
    camera: Camera

    def detector(self) -> Detector:
        return self.camera.detector()

    def image(self, detector: Detector, number: int) -> NDArray[Any] | None:
        return self.camera.images.pixels(number)[: len(detector.info().bands)]


class TestDectrisByStream1(DectrisConformance):
    @pytest.fixture(autouse=True)
    def _camera(self, cameras: Cameras) -> None:
        self.camera = cameras("v1")
        self.camera.takes_time = True


class TestDectrisByStream2(DectrisConformance):
    """Two thresholds, thus two bands."""

    @pytest.fixture(autouse=True)
    def _camera(self, cameras: Cameras) -> None:
        self.camera = cameras("stream2", bands=("threshold_1", "threshold_2"))
        self.camera.takes_time = True


@pytest.mark.emulator
@pytest.mark.soak
class TestEiger(DetectorConformance):
    """An EIGER that nobody here wrote; its images are large, and always the same."""

    extra: ClassVar[tuple[str, ...]] = DectrisConformance.extra
    nb_frames: ClassVar[int] = 6
    expo_time: ClassVar[float | None] = 0.02

    @pytest.fixture(autouse=True)
    def _eiger(self, eiger: Eiger) -> None:
        self.eiger = eiger

    def detector(self) -> Detector:
        eiger = self.eiger
        return Dectris(
            host="127.0.0.1", port=eiger.port, stream_port=eiger.stream2_port, timeout=20,
            channels=("threshold_1",),  # it says that it has two, and sends one
        )  # fmt: skip
