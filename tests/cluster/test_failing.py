"""Tasks that hang, and tasks that end the process they are in."""

from __future__ import annotations

import time

import pytest
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import Failing

BLOCKS = ld.Buffers(nb_frames_per_block=5)


def acquisition_of(client: Client, task: Failing, topology: ld.Topology) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("bad", task)
    return ld.Acquisition(
        client, Simulator(shape=(64, 48)), pipe, nb_frames=100, expo_time=1e-3,
        stall_timeout=1.0, buffers=BLOCKS, topology=topology,
    )  # fmt: skip


def test_a_task_that_hangs_ends_the_run_soon_and_is_named() -> None:
    task = Failing(frames=[98], how="hang", seconds=600)
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        acquisition = acquisition_of(client, task, ld.Topology())
        acquisition.prepare()
        acquisition.start()
        acquisition.wait("acquired", timeout=60)
        acquired = time.monotonic()
        with pytest.raises(ld.StalledError, match="check the tasks") as caught:
            acquisition.wait()
        assert time.monotonic() - acquired < 15  # not the 20 s that blocks have to end otherwise
        assert (caught.value.stage, caught.value.last_frame) == ("processing", 99)
        assert acquisition.state == ("acquired", "failed")
        record = acquisition.record()
        assert record.counts() == {"present": 95, "partial": 0, "absent": 5, "vetoed": 0}
        assert record.ranges(ld.Status.ABSENT) == [(95, 99, "timeout")]
        assert "not come back within 3 s: 1;" in acquisition.statistics()["error"]


def test_a_task_that_ends_each_worker_ends_the_run_and_no_frame_is_unaccounted() -> None:
    task = Failing(frames=[30], how="exit")
    topology = ld.Topology(workers=2, roles="separate")
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = acquisition_of(client, task, topology)
        acquisition.prepare()
        software = acquisition.parameters.software
        assert software is not None
        acquisition.start()
        with pytest.raises(ld.AcquisitionFailed, match="no worker that processes is left: worker"):
            acquisition.wait(timeout=60)
        assert [cluster.workers[name].wait(timeout=60) for name in software.processors] == [1, 1]
        assert cluster.workers[software.receivers[0]].poll() is None
        assert acquisition.state[1] == "failed"
        counts = acquisition.record().counts()
        assert sum(counts.values()) == 100
        assert all(cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT))
        assert acquisition.ledger.status.values[30] == ld.Status.ABSENT
