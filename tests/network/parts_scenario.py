"""Receivers on two hosts, each with a module of every frame, put together on a third.

``python parts_scenario.py FOLDER``: blocks of 1 MiB, by TCP, for memory cannot be shared.
"""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
from distributed import Client
from hosts import hosts, tell

import limadask as ld
from limadask_detectors import Simulator
from limadask_tasks import Assemble, SaveHdf5

CAMERA = Simulator(shape=(516, 1024), dtype="uint32", modules=2, gap=4)
MODULE = 256 * 1024 * 4
FRAMES = 20
TOPOLOGY = ld.Topology(receivers=2, workers=1, roles="separate", dispatch="partial")


def acquire(client: Client, folder: Path) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("whole", Assemble())
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="whole")
    with ld.Acquisition(
        client, CAMERA, pipe, nb_frames=FRAMES, expo_time=0.02, topology=TOPOLOGY,
        buffers=ld.Buffers(nb_frames_per_block=1, nbytes=8 * MODULE),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    return acquisition


def right(acquisition: ld.Acquisition) -> list[int]:
    """Return the frames of the master file that are what the camera has sent."""
    bank = CAMERA.source()  # drawn once: that takes longer than all frames
    expected = bank.blank()
    found = []
    with h5py.File(acquisition.files["file"]) as file:
        for number, image in enumerate(file["entry/data/data"]):
            bank.fill(number, expected)
            found += [number] if np.array_equal(image, expected[0]) else []
    return found


def main(folder: Path) -> None:
    settings = {"limadask.shared-memory": False}
    with hosts(["rx-0", "rx-1", "proc-0"], folder, settings) as (client, _):
        acquisition = acquire(client, folder)
        sent = client.run(
            lambda dask_worker: (dask_worker.name, dask_worker.transfer_outgoing_bytes_total)
        )
        tell(
            counts=acquisition.record().counts(),
            right=right(acquisition),
            sent=dict(sent.values()),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
