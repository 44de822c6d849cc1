"""More frames than memory has room for, and a kernel that allows no more."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cgroup import memory_group
from disk import on_disk
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
PERIOD, NB_SLOW = 4e-3, 200
POLICIES = {
    "wait": ld.Policy(),
    "pause": ld.Policy(on_overrun="pause"),
    "hold": ld.Policy(on_overrun="hold"),
    "newest": ld.Policy(on_overrun="drop"),
    "oldest": ld.Policy(on_overrun="drop", drop="oldest"),
    "every": ld.Policy(on_overrun="drop", drop={"every": 3}),
    "abort": ld.Policy(on_overrun="abort"),
}
ALIKE, MORE = ("pause", "newest", "every"), pytest.mark.soak
"""Policies whose memory is as that of others."""


@ld.task(arrays="numpy", plan={"total": "u8"})
def total(frames: Any, gate: str = "") -> Any:
    """The counts of each frame, once there is a writer of the FIFO ``gate``."""
    os.close(os.open(gate, os.O_RDONLY))
    return {"total": frames.sum(axis=(2, 3), dtype="u8")}


@ld.task(arrays="numpy", plan={"first": "u2"})
def slowly(frames: Any) -> Any:
    """The first pixel of each frame, ten times as slow as the frames come."""
    time.sleep(10 * PERIOD * len(frames))
    return {"first": frames[:, :, 0, 0]}


@pytest.mark.slow
def test_frames_wait_in_a_file_when_memory_is_full(tmp_path: Path) -> None:
    gate = on_disk(tmp_path) / "gate"
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "policy", [pytest.param(one, marks=MORE) if one in ALIKE else one for one in POLICIES]
)
def test_what_is_ten_times_too_slow_ends_as_its_policy_says_and_not_by_the_kernel(
    policy: str, tmp_path: Path
) -> None:
    pool, limit = 64 * FRAME, 288 * MIB  # besides what the process had before it was limited
    folder = on_disk(tmp_path) if policy == "hold" else tmp_path
    pipe = ld.Pipeline()
    pipe.add("slow", slowly())
    buffers = ld.Buffers(nb_frames_per_block=8, nbytes=pool, folder=str(folder))
    with memory_group(limit) as group, process_cluster(1) as cluster:
        group.add(cluster.workers["worker-0"].pid)
        with Client(cluster.address) as client:
            acquisition = ld.Acquisition(
                client, CAMERA, pipe, nb_frames=NB_SLOW, expo_time=PERIOD, buffers=buffers,
                policy=POLICIES[policy],
            )  # fmt: skip
            with acquisition:
                acquisition.prepare()
                acquisition.start()
                with pytest.raises(ld.AcquisitionFailed) if policy == "abort" else nullcontext():
                    acquisition.wait(timeout=120)
                record, statistics = acquisition.record(), acquisition.statistics()
        assert group.killed == 0
    counts = record.counts()
    causes = {cause for _, _, cause in record.ranges(ld.Status.ABSENT)}
    assert counts["present"] + counts["absent"] == NB_SLOW
    assert statistics["frames"] == counts
    lossless = policy in ("wait", "pause", "hold")
    assert causes == (set() if lossless else {"stopped" if policy == "abort" else "overrun"})
