"""Runs followed from elsewhere, watched, and recovered."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask.cluster.local import ProcessCluster, process_cluster
from limadask.storage import rescue, series_files
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]
CAMERA = Simulator(shape=(64, 48), growth=2.0)
STARTER = """
    import sys
    import limadask as ld
    from distributed import Client
    from limadask_detectors import Simulator
    from limadask_tasks import Observe, RoiStatistics, SaveHdf5

    client = Client(sys.argv[1])
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    pipe.add("live", Observe())
    pipe.add("file", SaveHdf5(folder=sys.argv[2], prefix="run"))
    camera = Simulator(shape=(64, 48), growth=2.0)
    acquisition = ld.Acquisition(
        client, camera, pipe, nb_frames=int(sys.argv[3]), expo_time=5e-3,
        buffers=ld.Buffers(nb_frames_per_block=4), metadata={"sample": "LaB6"},
    )
    acquisition.prepare()
    acquisition.start()
    print(acquisition.uuid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def cluster() -> Iterator[ProcessCluster]:
    with process_cluster(1) as cluster:
        yield cluster


def started(cluster: ProcessCluster, folder: Path, nb_frames: int) -> tuple[Any, str]:
    """Start a run from a process of its own; return the process and the uuid."""
    arguments = [cluster.address, str(folder), str(nb_frames)]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(STARTER), *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_run_is_followed_to_its_end_when_its_client_is_dead(
    cluster: ProcessCluster, tmp_path: Path
) -> None:
    starter, uuid = started(cluster, tmp_path, 300)
    try:
        with Client(cluster.address) as client:
            run = ld.attach(client, uuid)
            events = iter(run.events(saved=True))
            starter.kill()
            starter.wait()
            saved: set[int] = set()
            for event in events:
                if isinstance(event, ld.FramesSaved):
                    saved |= set(range(event.first, event.last + 1))
            run.wait(timeout=60)
            assert run.state == ("acquired", "processed")
            assert run.record().counts()["present"] == 300
            assert run.parameters.user.nb_frames == 300
            numbers = run.data["stats"]["frame"].values
            assert numbers.tolist() == list(range(300))  # no receipt was lost
            assert max(saved) == 299
            assert saved == set(range(min(saved), 300))
            assert int(run.observe["live"].latest()["frame"]) == 299
            with h5py.File(run.files["file"]) as file:
                assert len(file["entry/data/data"]) == 300
    finally:
        starter.kill()
        starter.communicate()


def test_an_unknown_run_is_refused_and_the_known_ones_are_named(client: Client, run: Run) -> None:
    known = run(ld.Pipeline())
    with pytest.raises(ld.LimadaskError, match=known.uuid):
        ld.attach(client, "nobody")


def test_who_attaches_may_stop_the_run(cluster: ProcessCluster, tmp_path: Path) -> None:
    starter, uuid = started(cluster, tmp_path, 0)
    try:
        with Client(cluster.address) as client:
            run = ld.attach(client, uuid)
            next(one for one in run.events() if isinstance(one, ld.FramesDone))
            run.stop()
            run.wait(timeout=60)
            assert run.statistics()["outcome"] == "stopped"
    finally:
        starter.kill()
        starter.communicate()


def test_who_attaches_may_trigger_and_abort_the_run(client: Client) -> None:
    camera = Simulator(shape=(64, 48))
    with ld.Acquisition(
        client, camera, ld.Pipeline(), nb_frames=10, trigger_mode="software",
        nb_frames_per_trigger=2, expo_time=1e-3,
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        run = ld.attach(client, acquisition.uuid)
        events = run.events()
        run.start()

        async def take_one_trigger() -> list[ld.Event]:
            told: list[ld.Event] = []
            run.trigger()
            async for event in events:
                told.append(event)
                done = isinstance(event, ld.FramesDone) and event.count == 2
                if done and run.state[0] == "acquiring":
                    run.abort()
            return told

        told = asyncio.run(asyncio.wait_for(take_one_trigger(), 60))
    states = [(one.side, one.state) for one in told if isinstance(one, ld.StateChanged)]
    assert states[-2:] in (
        [("detector", "aborted"), ("processing", "aborted")],
        [("processing", "aborted"), ("detector", "aborted")],
    )
    assert acquisition.record().counts() == {
        "present": 2, "partial": 0, "absent": 8, "vetoed": 0
    }  # fmt: skip


def test_what_was_saved_is_recovered_when_the_scheduler_died(
    cluster: ProcessCluster, tmp_path: Path
) -> None:
    starter, uuid = started(cluster, tmp_path, 10_000)
    try:
        with Client(cluster.address) as client:
            run, saved = ld.attach(client, uuid), set[int]()
            for event in run.events(saved=True):
                if isinstance(event, ld.FramesSaved):
                    saved |= set(range(event.first, event.last + 1))
                if len(saved) > 80:
                    break
            (worker,) = cluster.workers.values()
            worker.send_signal(signal.SIGKILL)
            cluster.scheduler.kill()
            worker.wait()
            cluster.scheduler.wait()
    finally:
        starter.kill()
        starter.communicate()
    (made,) = rescue(tmp_path, force=True).made
    assert made.uuid == uuid
    assert (made.frames["present"] + made.frames["absent"]) == 10_000
    assert rescue(tmp_path).made == ()  # nothing is left to do
    with h5py.File(made.path) as file:
        entry = file["entry"]
        assert entry["sample/name"][()] == b"LaB6"
        assert entry["run_state"][()] == b"failed"
        assert entry["parameters/user/nb_frames"][()] == 10_000
        status = entry["data/frame_status"][()]
        assert all(status[number] == ld.Status.PRESENT for number in saved)
        assert set(entry["data/frame_cause"][()][status == ld.Status.ABSENT]) == {b"worker_lost"}
        for number in sorted(saved)[::10]:
            expected = CAMERA.frame(number).values[0]
            np.testing.assert_array_equal(entry["data/data"][number], expected)


def test_files_that_somebody_writes_are_left_alone(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    acquisition = ld.Acquisition(client, CAMERA, pipe, nb_frames=0, expo_time=1e-3)
    with acquisition:
        acquisition.prepare()
        with pytest.raises(ld.ConfigError, match="is being written") as caught:
            rescue(tmp_path)
        assert caught.value.value == str(series_files(tmp_path, "run")[0][0])
        acquisition.start()
        next(one for one in acquisition.events(saved=True) if isinstance(one, ld.FramesSaved))
        acquisition.stop()
        acquisition.wait(timeout=60)
    assert rescue(tmp_path).made == ()


def test_a_dead_detector_ends_the_run_with_its_name(client: Client, tmp_path: Path) -> None:
    camera = Simulator(shape=(64, 48), faults={"die": 25})
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    acquisition = ld.Acquisition(
        client, camera, pipe, nb_frames=100, expo_time=1e-3, stall_timeout=1.0
    )
    began = time.monotonic()
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        with pytest.raises(ld.StalledError, match="check the detector") as caught:
            acquisition.wait()
    assert (caught.value.stage, caught.value.last_frame) == ("detector", 24)
    assert time.monotonic() - began < 20
    record = acquisition.record()
    assert record.counts() == {"present": 25, "partial": 0, "absent": 75, "vetoed": 0}
    assert record.ranges(ld.Status.ABSENT) == [(25, 99, "timeout")]
    with h5py.File(acquisition.files["file"]) as file:
        assert (file["entry/data/frame_status"][()] == 1).sum() == 25


def test_a_run_that_nobody_waits_for_ends_all_the_same(client: Client) -> None:
    camera = Simulator(shape=(64, 48), faults={"die": 0})
    acquisition = ld.Acquisition(
        client, camera, ld.Pipeline(), nb_frames=10, expo_time=1e-3, stall_timeout=0.5
    )
    acquisition.prepare()
    acquisition.start()
    told = [one.state for one in acquisition.events() if isinstance(one, ld.StateChanged)]
    assert told[-1] == "failed"
    assert acquisition.record().ranges(ld.Status.ABSENT) == [(0, 9, "timeout")]
