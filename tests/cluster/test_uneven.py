"""Receivers and workers of different numbers, live and deferred."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics, SaveHdf5

CAMERA = Simulator(shape=(64, 48))
FRAMES = 61
CASES: list[tuple[Literal["live", "deferred"], dict[str, Any]]] = [
    ("live", {"receivers": 2, "workers": 3, "dispatch": "round_robin"}),
    ("live", {"receivers": 3, "workers": 2, "dispatch": "round_robin"}),
    ("deferred", {"receivers": 2, "workers": 1, "roles": "separate", "dispatch": "round_robin"}),
    ("deferred", {"receivers": 2, "workers": 1, "roles": "separate", "dispatch": "dynamic"}),
    ("deferred", {"receivers": 2, "workers": 3, "dispatch": "dynamic"}),
]


@pytest.mark.parametrize(("processing", "fields"), CASES)
def test_any_numbers_of_receivers_and_workers(
    client: Client, tmp_path: Path, processing: Literal["live", "deferred"], fields: dict[str, Any]
) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 64, 48)]))
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    topology = ld.Topology(**fields)
    with ld.Batch(client, processing=processing) as batch:
        acquisition = batch.add(
            ld.Acquisition(
                client, CAMERA, pipe, nb_frames=FRAMES, expo_time=1e-3, topology=topology,
                buffers=ld.Buffers(nb_frames_per_block=5),
            )
        )  # fmt: skip
        batch.start()
        acquisition.wait("acquired", timeout=60)
        if processing == "deferred":
            assert acquisition.state == ("acquired", "deferred")
        batch.wait(timeout=60)
    software = acquisition.parameters.software
    assert software is not None
    assert len(software.receivers) == topology.receivers
    assert len(software.processors) == topology.workers
    if topology.roles == "shared":
        smaller, larger = sorted((software.receivers, software.processors), key=len)
        assert set(smaller) < set(larger)
    ledger = acquisition.ledger
    assert (ledger["status"] == ld.Status.PRESENT).all()
    assert len(set(ledger["receiver"].values)) == topology.receivers
    totals = [int(CAMERA.frame(number).values.sum()) for number in range(FRAMES)]
    assert acquisition.data["stats"]["sum"].values[:, 0, 0].tolist() == totals
    with h5py.File(acquisition.files["file"]) as file:
        images = file["entry/data/data"][()]
    assert len(images) == FRAMES
    for number, image in enumerate(images):
        assert np.array_equal(image, CAMERA.frame(number).values[0]), number
