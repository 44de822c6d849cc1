"""Acquisitions that follow one another, live and deferred."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics, SaveHdf5

ROI = ld.Rect(0, 0, 8, 8)
ONE = ld.Buffers(nb_frames_per_block=1)
CAMERA = Simulator(shape=(64, 48), growth=2.0)
Make = Callable[..., ld.Acquisition]


@pytest.fixture
def make(client: Client) -> Make:
    """Make an acquisition of a small simulator."""

    def make(camera: ld.Detector = CAMERA, **fields: Any) -> ld.Acquisition:
        pipe = fields.pop("pipe", None)
        if pipe is None:
            pipe = ld.Pipeline()
            pipe.add("stats", RoiStatistics(rois=[ROI]))
        fields = {"nb_frames": 30, "expo_time": 1e-3, "buffers": ONE, **fields}
        return ld.Acquisition(client, camera, pipe, **fields)

    return make


def saving(folder: Path, prefix: str) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), prefix=prefix))
    return pipe


def reached(acquisition: ld.Acquisition, state: str, bound: float = 30.0) -> None:
    """Wait until the detector side is in a state."""
    deadline = time.monotonic() + bound
    looking = threading.Event()
    while acquisition.state[0] != state:
        assert time.monotonic() < deadline, f"not {state} but {acquisition.state}"
        looking.wait(0.02)


def test_a_batch_runs_its_acquisitions_one_after_the_other(client: Client, make: Make) -> None:
    with ld.Batch(client) as batch:
        for count in (10, 20, 30):
            batch.add(make(nb_frames=count))
        assert "3 idle/idle" in repr(batch)
        batch.start()
        batch.wait(timeout=60)
        assert [one.state for one in batch] == [("acquired", "processed")] * 3
        assert [one.data["stats"].sizes["frame"] for one in batch] == [10, 20, 30]
        told = batch.statistics()
    for before, after in pairwise(told):
        assert before["acquired"] <= after["began"]
    assert len({one.uuid for one in batch}) == 3


def test_one_that_fails_does_not_touch_its_neighbours(client: Client, make: Make) -> None:
    wrong = ld.Pipeline()
    wrong.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]), after="input")
    wrong.add("file", SaveHdf5(folder="/proc/no/such", prefix="x"))
    dropping = Simulator(shape=(64, 48), faults={"drop": [3]})
    with ld.Batch(client) as batch:
        good = batch.add(make())
        unprepared = batch.add(make(pipe=wrong))
        aborting = batch.add(make(dropping, policy=ld.Policy(on_absent="abort")))
        last = batch.add(make())
        batch.start()
        with pytest.raises(ld.AcquisitionFailed, match="2 of 4 acquisitions failed") as caught:
            batch.wait(timeout=60)
    assert unprepared.uuid in str(caught.value)
    assert aborting.uuid in str(caught.value)
    for one in (good, last):
        assert one.record().counts()["present"] == 30
    assert aborting.statistics()["outcome"] == "failed"


def test_acquisitions_join_a_batch_that_runs(client: Client, make: Make) -> None:
    with ld.Batch(client) as batch:
        first = batch.add(make(nb_frames=0))
        batch.start()
        reached(first, "acquiring")
        second = batch.add(make())
        reached(second, "prepared")  # ahead, while the first one acquires
        assert first.state[0] == "acquiring"
        first.stop()
        batch.wait(timeout=60)
    assert second.record().counts()["present"] == 30
    with pytest.raises(ld.StateError, match="make a new one"):
        batch.add(make())


def test_leaving_a_batch_early_ends_what_is_left_of_it(client: Client, make: Make) -> None:
    with ld.Batch(client) as batch:
        for _ in range(3):
            batch.add(make(nb_frames=0))
        batch.start()
        reached(batch[0], "acquiring")
    assert [one.state[0] for one in batch] == ["aborted"] * 3


@pytest.mark.parametrize("processing", ["live", "deferred"])
def test_stopping_keeps_what_has_come_and_begins_nothing_more(
    client: Client, make: Make, processing: Any
) -> None:
    with ld.Batch(client, processing=processing) as batch:
        acquired, running, *queued = [batch.add(make(nb_frames=n)) for n in (30, 0, 0, 0)]
        batch.start()
        acquired.wait("acquired", timeout=60)
        reached(running, "acquiring")
        for _ in range(2):
            batch.stop()
        with pytest.raises(ld.StateError, match="stopped"):
            batch.add(make())
        batch.wait(timeout=60)
        batch.stop()  # it has ended already
        told = batch.statistics()
    assert [one.state for one in (acquired, running)] == [("acquired", "processed")] * 2
    assert [one.state for one in queued] == [("aborted", "aborted")] * 2
    assert [one["outcome"] for one in told] == ["done", "stopped", "stopped", "stopped"]
    assert all(one["began"] for one in told[:2])
    assert [(one["began"], one["error"]) for one in told[2:]] == [(0, "")] * 2
    assert acquired.record().counts()["present"] == 30
    record = running.record()
    assert record.counts()["present"] == len(record)


def test_mistakes_are_told(client: Client, make: Make) -> None:
    with pytest.raises(ld.ConfigError, match="processing"):
        ld.Batch(client, processing="later")  # type: ignore[arg-type]
    batch = ld.Batch(client)
    with pytest.raises(ld.StateError, match="empty"):
        batch.start()
    with pytest.raises(ld.StateError, match="deferred"):
        batch.process()
    one = batch.add(make())
    with pytest.raises(ld.StateError, match="already"):
        batch.add(one)
    with pytest.raises(ld.StateError, match="not begun"):
        batch.wait()
    with pytest.raises(ld.ConfigError, match="priority"):
        make(priority=10_000)


# ---- deferred -----------------------------------------------------------------------------------


def test_deferred_frames_are_processed_when_asked_for(
    client: Client, make: Make, tmp_path: Path
) -> None:
    with ld.Batch(client, processing="deferred") as batch:
        for number in range(2):
            batch.add(make(pipe=saving(tmp_path, f"run{number}")))
        batch.start()
        for one in batch:
            one.wait("acquired", timeout=60)
        assert [one.state for one in batch] == [("acquired", "deferred")] * 2
        assert [one["processed"] for one in batch.statistics()] == [0, 0]
        batch.process()
        for one in batch:
            one.wait(timeout=60)
        batch.wait(timeout=60)
    for number, one in enumerate(batch):
        assert one.record().counts()["present"] == 30
        assert Path(one.files["file"]).name == f"run{number}_master.h5"


def test_waiting_for_a_deferred_batch_processes_it(client: Client, make: Make) -> None:
    with ld.Batch(client, processing="deferred") as batch:
        for _ in range(3):
            batch.add(make())
        batch.start()
        batch.wait(timeout=60)
    assert [one.record().counts()["present"] for one in batch] == [30] * 3


def test_what_memory_has_no_room_for_is_held_on_disk(
    client: Client, make: Make, tmp_path: Path
) -> None:
    slot = 64 * 48 * 2
    small = ld.Buffers(nb_frames_per_block=1, nbytes=4 * slot, folder=str(tmp_path))
    with ld.Batch(client, processing="deferred") as batch:
        one = batch.add(make(nb_frames=200, expo_time=5e-3, buffers=small))
        batch.start()
        one.wait("acquired", timeout=60)
        assert one.parameters.software is not None
        assert one.parameters.software.nb_slots == 4
        assert list(tmp_path.iterdir()) == []  # the file has no name: nothing to leave behind
        batch.wait(timeout=60)
    assert one.record().counts()["present"] == 200
    expected = [float(CAMERA.frame(n).isel(y=slice(8), x=slice(8)).sum()) for n in range(200)]
    got = one.data["stats"]["sum"].isel(band=0, roi=0).values
    np.testing.assert_allclose(got, expected)


def test_a_folder_that_cannot_be_written_to_is_refused(client: Client, make: Make) -> None:
    buffers = ld.Buffers(nb_frames_per_block=1, folder="/proc/no/such")
    with ld.Batch(client, processing="deferred") as batch:
        one = batch.add(make(buffers=buffers))
        batch.start()
        with pytest.raises(ld.AcquisitionFailed, match=r"buffers\.folder"):
            batch.wait(timeout=60)
        with pytest.raises(ld.ConfigError, match="cannot be held"):
            one.wait()


def test_held_frames_are_no_stall(client: Client, make: Make) -> None:
    with ld.Batch(client, processing="deferred") as batch:
        one = batch.add(make(stall_timeout=0.5))
        batch.start()
        one.wait("acquired", timeout=60)
        elsewhere = ld.attach(client, one.uuid)
        for run in (one, elsewhere):  # the run itself waits for ever: it is its user who must ask
            with pytest.raises(ld.StalledError, match=r"ask for them by process\(\)") as caught:
                run.wait()
            assert caught.value.stage == "deferred"
        assert one.state == ("acquired", "deferred")
        elsewhere.process()
        one.wait(timeout=60)
        batch.wait(timeout=60)
    assert one.record().counts()["present"] == 30


# ---- detectors ----------------------------------------------------------------------------------


class Lonely(Simulator):
    """A detector that one acquisition alone can hold."""

    lock: str

    def capabilities(self) -> ld.Capabilities:
        return super().capabilities().replace(prepares_ahead=False)

    def prepare(self, share: Any, endpoints: tuple[str, ...]) -> Any:
        Path(self.lock).touch(exist_ok=False)
        return super().prepare(share, endpoints)

    def close(self) -> None:
        Path(self.lock).unlink(missing_ok=True)


class Slow(ld.Task):
    """Burns some time on every block."""

    milliseconds: float

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        end = time.perf_counter() + self.milliseconds / 1000
        while time.perf_counter() < end:
            pass
        return block.copy()


def slow(milliseconds: float = 20) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("slow", Slow(milliseconds=milliseconds))
    return pipe


def test_a_detector_is_given_back_when_it_has_ended(make: Make, tmp_path: Path) -> None:
    camera = Lonely(shape=(64, 48), lock=str(tmp_path / "lock"))
    one, next_ = make(camera, pipe=slow(), nb_frames=200, expo_time=0), make(camera)
    with one, next_:
        one.prepare()
        one.start()
        one.wait("acquired", timeout=60)
        next_.prepare()  # it would find the lock
        next_.start()
        next_.wait(timeout=60)
        assert one.state == ("acquired", "processing"), "there was no backlog"
        one.abort()
    assert next_.record().counts()["present"] == 30


def test_a_detector_that_only_one_can_hold_is_prepared_late_in_a_batch(
    client: Client, make: Make, tmp_path: Path
) -> None:
    camera = Lonely(shape=(64, 48), lock=str(tmp_path / "lock"))
    with ld.Batch(client) as batch:
        for _ in range(3):
            batch.add(make(camera))
        batch.start()
        batch.wait(timeout=60)
    assert [one.record().counts()["present"] for one in batch] == [30] * 3
    assert not list(tmp_path.iterdir())


def test_two_detectors_run_at_once(make: Make, tmp_path: Path) -> None:
    cameras = Simulator(shape=(64, 48)), Simulator(shape=(100, 30), bands=["low", "high"])
    both = [
        make(camera, pipe=saving(tmp_path, f"camera{number}"), nb_frames=0)
        for number, camera in enumerate(cameras)
    ]
    with both[0], both[1]:
        for one in both:
            one.prepare()
        for one in both:
            one.start()
        for one in both:
            next(event for event in one.events(saved=True) if isinstance(event, ld.FramesSaved))
        assert [one.state for one in both] == [("acquiring", "processing")] * 2
        for one in both:
            one.stop()
        for one in both:
            one.wait(timeout=60)
    for one, camera in zip(both, cameras, strict=True):
        count = one.record().counts()["present"]
        assert count == len(one.record()) > 0
        with h5py.File(one.files["file"]) as file:
            saved = file["entry/data/data"][count - 1]
        np.testing.assert_array_equal(saved, camera.frame(count - 1).values[0])


# ---- priorities ---------------------------------------------------------------------------------


class Logged(ld.Task):
    """Writes down when it is called, and burns some time."""

    path: str
    milliseconds: float = 0.0

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        with Path(self.path).open("a") as log:
            log.write(f"{time.time()}\n")
        return Slow(milliseconds=self.milliseconds)(block)


def logged(path: Path, milliseconds: float) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("logged", Logged(path=str(path), milliseconds=milliseconds))
    return pipe


@pytest.mark.parametrize("priority", [0, 1])
def test_the_newest_goes_first_unless_an_older_one_has_priority(
    priority: int, tmp_path: Path
) -> None:
    paths = tmp_path / "backlog", tmp_path / "newest"
    with process_cluster(1) as cluster, Client(cluster.address) as client:  # both on one worker
        common: dict[str, Any] = {"buffers": ONE}
        backlog = ld.Acquisition(
            client, CAMERA, logged(paths[0], 20), nb_frames=150, expo_time=0, priority=priority,
            **common,
        )  # fmt: skip
        newest = ld.Acquisition(
            client, CAMERA, logged(paths[1], 0), nb_frames=30, expo_time=1e-3, **common
        )
        with backlog, newest:
            for one in (backlog, newest):
                one.prepare()
            backlog.start()
            backlog.wait("acquired", timeout=60)
            newest.start()
            for one in (backlog, newest):
                one.wait(timeout=60)
    old, new = (np.loadtxt(path) for path in paths)
    assert old.size == 150
    assert new.size == 30
    if priority:
        assert old.max() < new.min()
    else:  # the backlog goes on only where the newest has no block ready
        assert new.max() < old.max()
        assert np.count_nonzero(old > new.max()) > 50


# ---- who dies -----------------------------------------------------------------------------------

STARTER = """
    import sys
    import limadask as ld
    from distributed import Client
    from limadask_detectors import Simulator
    from limadask_tasks import RoiStatistics

    client = Client(sys.argv[1])
    batch = ld.Batch(client, processing=sys.argv[2])
    for _ in range(3):
        pipe = ld.Pipeline()
        pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
        acquisition = ld.Acquisition(
            client, Simulator(shape=(64, 48)), pipe, nb_frames=60, expo_time=5e-3
        )
        acquisition.futures("input", max_held=100)
        batch.add(acquisition)
    batch.start()
    print(*(one.uuid for one in batch), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("processing", ["live", "deferred"])
def test_a_batch_outlives_its_client(processing: str) -> None:
    with process_cluster(1, threads=2) as cluster:
        starter = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(STARTER), cluster.address, processing],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert starter.stdout is not None
        uuids = starter.stdout.readline().split()
        starter.kill()
        starter.communicate()
        with Client(cluster.address) as client:
            runs = [ld.attach(client, uuid) for uuid in uuids]
            for run in runs:
                run.wait(timeout=60)
            assert [run.record().counts()["present"] for run in runs] == [60] * 3
            last = runs[-1]
            assert last.data["stats"].sizes["frame"] == 60
            futures = list(last.futures("input"))
            assert sum(one.result(timeout=30).sizes["frame"] for one in futures) == 60
            with pytest.raises(ld.ConfigError, match="futures"):
                last.futures("stats")


def test_held_frames_of_a_lost_receiver_are_absent(tmp_path: Path) -> None:
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        with ld.Batch(client, processing="deferred") as batch:
            pipe = ld.Pipeline()
            pipe.add("stats", RoiStatistics(rois=[ROI]))
            one = batch.add(
                ld.Acquisition(client, CAMERA, pipe, nb_frames=30, expo_time=1e-3, buffers=ONE)
            )
            batch.start()
            one.wait("acquired", timeout=60)
            (receiver,) = one.parameters.software.receivers
            cluster.send(receiver, signal.SIGKILL)
            with pytest.raises(ld.AcquisitionFailed):
                batch.wait(timeout=60)
        assert one.record().ranges(ld.Status.ABSENT) == [(0, 29, "receiver_lost")]
