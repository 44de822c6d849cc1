"""A simulated detector that nobody here wrote, and that knows but a part of the SIMPLON API."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - its filters
import pytest
from distributed import Client
from emulators.libertem import FRAMES, SHAPE, Libertem, libertem

import limadask as ld
from limadask_detectors import Dectris
from limadask_tasks import RoiStatistics, SaveHdf5

__all__ = ["libertem"]
PAUSE = 1e-7
"""Seconds between two exposures, in the series that it replays."""
pytestmark = pytest.mark.emulator


def test_its_series_are_taken_one_after_the_other(
    client: Client, tmp_path: Path, libertem: Libertem
) -> None:
    detector = Dectris(
        host="127.0.0.1", port=libertem.port, stream="v1", stream_port=libertem.stream_port
    )
    for number in range(2):
        pipe = ld.Pipeline()
        pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix=f"run{number}"))
        pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, *SHAPE)]))
        # it sends as soon as it is armed, and only allows what it replays
        with ld.Acquisition(
            client, detector, pipe, nb_frames=FRAMES, trigger_mode="gate", latency_time=PAUSE
        ) as acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(timeout=60)
        assert acquisition.record().counts()["present"] == FRAMES
        sums = acquisition.data["stats"]["sum"].values.ravel()
        with h5py.File(acquisition.files["file"]) as file:
            images = file["entry/data/data"]
            assert (images.shape, images.dtype) == ((FRAMES, *SHAPE), "u2")
            assert [(one.min(), one.max()) for one in images] == [(n, n) for n in range(FRAMES)]
        assert sums.tolist() == [n * SHAPE[0] * SHAPE[1] for n in range(FRAMES)]
