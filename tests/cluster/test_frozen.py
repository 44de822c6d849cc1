"""A frozen worker is dead before anybody who waits for it loses a frame."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from distributed import Client
from modules import partial

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import Assemble, SaveHdf5

CAMERA = Simulator(shape=(68, 48), modules=2, gap=4, realtime=True)
HEALTHY = slice(0, 32)
PERIOD = 0.1
"""Seconds; a camera in real time keeps four frames, so a busy computer alone loses none."""
HELD = 15
"""Frames that a receiver has room for: in the 5 s that a silent worker has it would overrun."""
POOL = ld.Buffers(nb_frames_per_block=1, nbytes=HELD * 32 * 48 * 2)


def test_a_healthy_module_loses_nothing_when_the_other_freezes(tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("whole", Assemble())
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after="whole")
    frozen: list[int] = []
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, pipe, nb_frames=35, expo_time=PERIOD, buffers=POOL,
            topology=partial(2, 1, "separate"),
        )  # fmt: skip

        def told(status: dict[str, Any]) -> None:
            if status["processed"] > 2 and not frozen:
                frozen.append(status["processed"])
                cluster.send(name, signal.SIGSTOP)

        with acquisition:
            acquisition.prepare()
            software = acquisition.parameters.software
            assert software is not None
            assert software.nb_slots == HELD
            name = str(software.receivers[1])
            acquisition.start()
            acquisition.wait(told=told, timeout=60)
        record = acquisition.record()
    assert record.ranges(ld.Status.ABSENT) == []
    lost = record.ranges(ld.Status.PARTIAL)
    assert {cause for *_, cause in lost} == {"receiver_lost"}
    assert record.counts()["present"] >= frozen[0]
    with h5py.File(acquisition.files["file"]) as file:
        images = file["entry/data/data"][()]
    for number, image in enumerate(images):
        expected = CAMERA.frame(number).values[0]
        assert np.array_equal(image[HEALTHY], expected[HEALTHY]), number
