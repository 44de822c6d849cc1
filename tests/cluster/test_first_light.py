"""Detector → receiver thread → tickets → pipeline → HDF5, on real processes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5


def test_100_frames_are_read_back(client: Client, tmp_path: Path) -> None:
    camera = Simulator(shape=(128, 96))
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    acquisition = ld.Acquisition(client, camera, pipe, nb_frames=100, expo_time=1e-3)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
    assert acquisition.state == ("acquired", "processed")
    with h5py.File(acquisition.files["file"]) as file:
        saved = file["entry/data/data"][()]
    assert saved.shape == (100, 128, 96)
    for number, image in enumerate(saved):
        assert np.array_equal(image, camera.frame(number).values[0])
