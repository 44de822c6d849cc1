"""Whole acquisitions of a :class:`Camera`, and what has come of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - its filters
import numpy as np
from distributed import Client
from emulators.camera import Camera

import limadask as ld
from limadask_detectors import Dectris
from limadask_tasks import RoiStatistics, SaveHdf5

BOUND = 30.0
"""Seconds that any run here may take."""
FRAMES = 20


class Runs:
    """Makes acquisitions that save the frames of a camera, and decode them.

    Parameters
    ----------
    client, folder:
        The cluster, and where files go.
    camera:
        The camera.
    receivers:
        How many take its frames.
    """

    def __init__(self, client: Client, folder: Path, camera: Camera, receivers: int = 1) -> None:
        self.camera, self.detector = camera, camera.detector()
        self._client, self._folder = client, folder
        self._numbers = itertools.count()
        self._topology = ld.Topology(
            receivers=receivers, workers=receivers,
            dispatch="dynamic" if receivers > 1 else "single",
        )  # fmt: skip

    def make(self, detector: Dectris | None = None, **fields: Any) -> ld.Acquisition:
        """Return an acquisition that has not begun."""
        pipe = ld.Pipeline()
        pipe.add("file", SaveHdf5(folder=str(self._folder), prefix=f"run{next(self._numbers)}"))
        pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, *self.camera.images.shape)]))
        given = {"nb_frames": FRAMES, "expo_time": 0.01, "topology": self._topology, **fields}
        return ld.Acquisition(self._client, detector or self.detector, pipe, **given)

    def finished(self, **fields: Any) -> ld.Acquisition:
        """Return one that has run to its end."""
        with self.make(**fields) as acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(timeout=BOUND)
        return acquisition

    def works(self) -> bool:
        """Whether a run takes all frames of a camera that has no faults any more."""
        self.camera.faults, self.camera.damaged, self.camera.cut_after = {}, [], None
        absent = self.absent(self.finished())
        return absent == {}

    def absent(self, acquisition: ld.Acquisition) -> dict[int, str]:
        """Return the frames that are absent, and why; all others are there, whole, and saved."""
        counts = acquisition.record().counts()
        total = acquisition.parameters.hardware.nb_frames if acquisition.parameters.hardware else 0
        absent = {
            number: run.cause
            for run in acquisition.record().runs() if run.status == ld.Status.ABSENT
            for number in range(run.first, run.stop)
        }  # fmt: skip
        assert counts["absent"] == len(absent)
        assert counts["present"] + counts["absent"] == sum(counts.values()) == total
        there = [number for number in range(total) if number not in absent]
        if acquisition.files:
            self._check(acquisition, there)
        return absent

    def _check(self, acquisition: ld.Acquisition, there: list[int]) -> None:
        sums = acquisition.data["stats"]["sum"]
        assert sums["frame"].values.tolist() == there
        with h5py.File(acquisition.files["file"]) as file:
            data, status = file["entry/data/data"], file["entry/data/frame_status"][()]
            assert np.flatnonzero(status == ld.Status.PRESENT).tolist() == there
            assert len(data) == len(status)
            for number in there:
                expected = self.camera.images.pixels(number)
                np.testing.assert_array_equal(data[number], expected[0], str(number))
                assert sums.sel(frame=number).values.ravel()[0] == expected[0].sum()
