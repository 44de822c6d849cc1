"""A burst of frames that is larger than memory: the disk takes what memory cannot."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgroup import memory_group
from disk import is_in_memory
from distributed import Client
from waiting import until

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator

MIB = 1 << 20
CAMERA = Simulator(shape=(1024, 1024))
NB_FRAMES, FRAME = 480, 2 * MIB
LIMIT = 400 * MIB
"""Of the worker's memory: less than half of the frames."""


@ld.task(arrays="numpy", plan={"total": "u8"})
def total(frames: Any, gate: str = "") -> Any:
    """The counts of each frame, once there is a writer of the FIFO ``gate``."""
    os.close(os.open(gate, os.O_RDONLY))
    return {"total": frames.sum(axis=(2, 3), dtype="u8")}


@pytest.mark.slow
def test_frames_wait_in_a_file_when_memory_is_full(tmp_path: Path) -> None:
    if is_in_memory(tmp_path):
        pytest.skip(f"{tmp_path} is in memory itself")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    pipe = ld.Pipeline()
    pipe.add("total", total(gate=str(gate)))
    mapped = {"type": "mapped", "folder": str(tmp_path)}
    buffers = ld.Buffers(nb_frames_per_block=8, nbytes=NB_FRAMES * FRAME, allocator=mapped)
    with memory_group(LIMIT) as group, process_cluster(1) as cluster, ExitStack() as stack:
        group.add(cluster.workers["worker-0"].pid)
        with Client(cluster.address) as client:
            acquisition = ld.Acquisition(
                client, CAMERA, pipe, nb_frames=NB_FRAMES, expo_time=0, buffers=buffers
            )
            with acquisition:
                acquisition.prepare()
                acquisition.start()
                until(lambda: acquisition.state[0] == "acquired")
                processed = acquisition.statistics()["processed"]
                stack.callback(os.close, os.open(gate, os.O_RDWR))  # waits for no reader
                acquisition.wait(timeout=120)
                found = acquisition.data["total"]["total"].values[:, 0]
                counts = acquisition.statistics()["frames"]
        assert group.reached
    assert processed == 0, "the burst was not held back"
    assert (counts["present"], counts["absent"]) == (NB_FRAMES, 0)
    source = CAMERA.source()
    frame = source.blank()
    for number in range(NB_FRAMES):
        source.fill(number, frame)
        assert found[number] == frame.sum(dtype=np.uint64), number
