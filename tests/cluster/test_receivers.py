"""Several receivers: who gets which frames, and what becomes of them when one is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask.engine.run import PROGRESS
from limadask_detectors import Replay, Simulator
from limadask_tasks import Accumulate, RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]
CAMERA = Simulator(shape=(64, 48))
DISPATCHES = ["round_robin", "dynamic", "broadcast"]


def pipeline(folder: Path) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 64, 48)]), after="input")
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="input")
    return pipe


def check_file(path: str, there: set[int], count: int, camera: Simulator = CAMERA) -> None:
    with h5py.File(path) as file:
        data, status = file["entry/data/data"][()], file["entry/data/frame_status"][()]
    assert len(data) == count
    for number in range(count):
        if number in there:
            assert status[number] == ld.Status.PRESENT
            assert np.array_equal(data[number], camera.frame(number).values[0]), number
        else:
            assert status[number] == ld.Status.ABSENT
            assert (data[number] == 65535).all()


@pytest.mark.parametrize("dispatch", DISPATCHES)
@pytest.mark.parametrize("roles", ["shared", "separate"])
def test_two_receivers_share_the_frames(
    run: Run, tmp_path: Path, dispatch: Any, roles: Any
) -> None:
    workers = 2 if roles == "shared" else 1
    topology = ld.Topology(receivers=2, workers=workers, roles=roles, dispatch=dispatch)
    acquisition = run(
        pipeline(tmp_path), CAMERA, nb_frames=101, expo_time=5e-4, topology=topology,
        buffers=ld.Buffers(nb_frames_per_block=5),
    )  # fmt: skip
    assert acquisition.state == ("acquired", "processed")
    ledger = acquisition.ledger
    assert (ledger["status"] == ld.Status.PRESENT).all()
    receivers = ledger["receiver"].values
    assert len(set(receivers)) == 2
    if dispatch != "dynamic":
        assert len(set(receivers[::2])) == len(set(receivers[1::2])) == 1
    check_file(acquisition.files["file"], set(range(101)), 101)
    stats = acquisition.data["stats"]
    assert stats["frame"].values.tolist() == list(range(101))
    totals = [int(CAMERA.frame(number).values.sum()) for number in range(101)]
    assert stats["sum"].values[:, 0, 0].tolist() == totals


def test_one_receiver_takes_all_whatever_the_dispatch(run: Run, tmp_path: Path) -> None:
    for dispatch in DISPATCHES:
        topology = ld.Topology(dispatch=dispatch)
        acquisition = run(pipeline(tmp_path / dispatch), CAMERA, nb_frames=20, topology=topology)
        check_file(acquisition.files["file"], set(range(20)), 20)


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_faults_are_told_once_by_whom_they_hit(run: Run, tmp_path: Path, dispatch: Any) -> None:
    faults = {"drop": [0, 7, 8], "corrupt": [20, 21], "duplicate": [5, 30], "reorder": [12, 40]}
    camera = CAMERA.replace(faults=faults)
    topology = ld.Topology(receivers=2, workers=2, dispatch=dispatch)
    acquisition = run(
        pipeline(tmp_path), camera, nb_frames=60, topology=topology, expo_time=1e-3,
        buffers=ld.Buffers(nb_frames_per_block=4),
    )  # fmt: skip
    assert acquisition.record().ranges(ld.Status.ABSENT) == [
        (0, 0, "detector"), (7, 8, "detector"), (20, 21, "decode_error")
    ]  # fmt: skip
    check_file(acquisition.files["file"], set(range(60)) - {0, 7, 8, 20, 21}, 60)


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_each_trigger_reaches_whom_it_concerns(run: Run, client: Client, dispatch: Any) -> None:
    topology = ld.Topology(receivers=2, workers=2, dispatch=dispatch)
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]), after="input")
    acquisition = ld.Acquisition(
        client, CAMERA, pipe, nb_frames=9, topology=topology,
        trigger_mode="software", nb_frames_per_trigger=3,
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        for _ in range(3):
            acquisition.trigger()
        acquisition.wait(timeout=30)
    assert acquisition.record().counts()["present"] == 9


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_a_run_without_a_number_of_frames_ends_when_it_is_stopped(
    client: Client, tmp_path: Path, dispatch: Any
) -> None:
    topology = ld.Topology(receivers=2, workers=2, dispatch=dispatch)
    acquisition = ld.Acquisition(
        client, CAMERA, pipeline(tmp_path), nb_frames=0, expo_time=1e-3, topology=topology
    )
    enough = threading.Event()
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        for event in acquisition.events():
            if isinstance(event, ld.FramesDone) and event.count > 50:
                enough.set()
                acquisition.stop()
                break
        assert enough.is_set()
        acquisition.wait(timeout=30)
    counts = acquisition.record().counts()
    assert counts["present"] > 50
    assert counts["present"] + counts["absent"] == len(acquisition.record())
    if counts["absent"]:  # one receiver stopped before the other
        ranges = acquisition.record().ranges(ld.Status.ABSENT)
        assert {cause for *_, cause in ranges} == {"stopped"}
        assert ranges[0][0] > 50


def test_clients_are_told_of_progress_equally_often_by_any_number_of_receivers(
    client: Client, tmp_path: Path
) -> None:
    topology = ld.Topology(receivers=2, workers=2, dispatch="round_robin")
    acquisition = ld.Acquisition(
        client, CAMERA, pipeline(tmp_path), nb_frames=150, expo_time=1e-2, topology=topology
    )
    with acquisition:
        acquisition.prepare()
        events = acquisition.events()
        acquisition.start()
        done = [one for one in events if isinstance(one, ld.FramesDone)]
    assert done[-1].count == 150
    live = [one.time for one in done[:-1]]  # the last one is of the end, whenever that is
    assert live[-1] - live[0] > (len(live) - 1) * PROGRESS - 0.1  # of one receiver: every 0.25 s


@pytest.mark.parametrize("dispatch", ["round_robin", "broadcast"])
def test_replay_deals_its_images(run: Run, tmp_path: Path, dispatch: Any) -> None:
    first = run(pipeline(tmp_path / "one"), CAMERA, nb_frames=31, expo_time=0)
    topology = ld.Topology(receivers=2, workers=2, dispatch=dispatch)
    camera = Replay(path=first.files["file"])
    again = run(pipeline(tmp_path / "two"), camera, nb_frames=31, topology=topology)
    check_file(again.files["file"], set(range(31)), 31)
    assert len(set(again.ledger["receiver"].values)) == 2


def test_what_cannot_be_dealt_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(ld.ConfigError, match="cannot share the frames under dispatch single"):
        ld.Topology(receivers=2)
    first = ld.Acquisition(client, CAMERA, pipeline(tmp_path), nb_frames=3)
    with first:
        first.prepare()
        first.start()
        first.wait(timeout=30)
    topology = ld.Topology(receivers=2, workers=2, dispatch="dynamic")
    camera = Replay(path=first.files["file"])
    with pytest.raises(ld.ConfigError, match="replay cannot deal") as info:
        ld.Acquisition(client, camera, ld.Pipeline(), topology=topology).prepare()
    assert (info.value.node, info.value.field) == ("topology", "dispatch")
    pipe = ld.Pipeline()
    pipe.add("sum", Accumulate(nb_frames=4), after="input")
    topology = ld.Topology(receivers=2, workers=2, dispatch="round_robin")
    with pytest.raises(ld.ConfigError, match="must come to one receiver") as info:
        ld.Acquisition(client, CAMERA, pipe, nb_frames=8, topology=topology).prepare()
    assert (info.value.node, info.value.field) == ("topology", "receivers")
