"""What goes wrong on the wire: each frame is accounted for, nothing hangs, the next run works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - its filters
import numpy as np
import pytest
from distributed import Client
from emulators.camera import Camera, Cameras

import limadask as ld
from limadask_tasks import RoiStatistics, SaveHdf5

ROI = ld.Rect(0, 0, 48, 64)


def acquisition(
    client: Client, camera: Camera, folder: Path, receivers: int = 1, **fields: Any
) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder)))
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    topology = ld.Topology(
        receivers=receivers, workers=receivers, dispatch="dynamic" if receivers > 1 else "single"
    )
    return ld.Acquisition(
        client, camera.detector(), pipe, topology=topology, **{"nb_frames": 20, **fields}
    )


def finished(acquisition: ld.Acquisition, bound: float = 20) -> ld.Acquisition:
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=bound)
    return acquisition


@pytest.mark.parametrize("stream", ["v1", "stream2"])
@pytest.mark.parametrize("receivers", [1, 2])
def test_all(client: Client, tmp_path: Path, cameras: Cameras, stream: Any, receivers: int):
    camera = cameras(stream)
    import time
    t=time.time()
    done = finished(acquisition(client, camera, tmp_path, receivers))
    print(done.record().counts(), time.time()-t)
    assert 0
