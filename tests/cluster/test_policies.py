"""Policies on a cluster: how many frames may be absent, and what becomes of tasks that raise."""

from __future__ import annotations

import signal
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
from limadask_tasks import Assemble, SaveHdf5

BLOCKS = ld.Buffers(nb_frames_per_block=5)


def acquisition_of(client: Client, folder: Path, faults: Any, **fields: Any) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"))
    camera = Simulator(shape=(64, 48), faults=faults)
    given = {"nb_frames": 100, "expo_time": 2e-3, "buffers": BLOCKS, **fields}
    return ld.Acquisition(client, camera, pipe, **given)


def assert_failed(acquisition: ld.Acquisition, match: str, **wait: Any) -> None:
    with pytest.raises(ld.AcquisitionFailed, match=match):
        acquisition.wait(timeout=60, **wait)
    assert acquisition.statistics()["outcome"] == "failed"
    assert acquisition.state == ("acquired", "failed")
    with h5py.File(acquisition.files["file"]) as file:  # complete all the same
        assert file["entry/run_state"].asstr()[()] == "failed"
        assert match in file["entry/error"].asstr()[()]
        status = file["entry/data/frame_status"][()].tolist()
    assert status == acquisition.ledger.status.values.tolist()


@pytest.mark.parametrize(
    ("policy", "dropped", "allowed"),
    [
        (ld.Policy(on_absent="abort"), [99], 0),
        (ld.Policy(max_absent=1), [98, 99], 1),
        (ld.Policy(max_absent=0.01), [98, 99], 1),
    ],
)
def test_frames_that_are_missing_at_the_end_count(
    client: Client, tmp_path: Path, policy: ld.Policy, dropped: list[int], allowed: int
) -> None:
    with acquisition_of(client, tmp_path, {"drop": dropped}, policy=policy) as acquisition:
        acquisition.prepare()
        acquisition.start()
        told = f"{len(dropped)} frames are absent, the policy allows {allowed}"
        assert_failed(acquisition, told)


def test_as_many_as_are_allowed_may_be_absent(client: Client, tmp_path: Path) -> None:
    policy = ld.Policy(max_absent=0.02)
    with acquisition_of(client, tmp_path, {"drop": [98, 99]}, policy=policy) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    assert acquisition.record().counts()["absent"] == 2


def stopping(acquisition: ld.Acquisition, at: int) -> Any:
    """Return a callback for ``wait`` that stops the acquisition once."""
    stopped: list[int] = []

    def told(status: dict[str, Any]) -> None:
        if status["last_frame"] > at and not stopped:
            stopped.append(at)
            acquisition.stop()

    return told


def test_a_fraction_of_a_run_without_an_end_is_known_when_it_is_stopped(
    client: Client, tmp_path: Path
) -> None:
    with acquisition_of(
        client, tmp_path, {"drop": 0.9}, nb_frames=0, policy=ld.Policy(max_absent=0.1)
    ) as acquisition:
        acquisition.prepare()
        acquisition.start()
        assert_failed(
            acquisition, "frames are absent, the policy allows", told=stopping(acquisition, 60)
        )


def test_frames_that_a_stop_leaves_out_do_not_count(client: Client, tmp_path: Path) -> None:
    policy = ld.Policy(on_absent="abort")
    with acquisition_of(client, tmp_path, {}, nb_frames=50_000, policy=policy) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60, told=stopping(acquisition, 60))
    assert acquisition.statistics()["outcome"] == "stopped"
    causes = {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)}
    assert causes == {"stopped"}


class Held(Simulator):
    """A camera that one acquisition alone can hold."""

    lock: str

    def prepare(self, share: Any, endpoints: tuple[str, ...]) -> Any:
        Path(self.lock).touch(exist_ok=False)
        return super().prepare(share, endpoints)

    def close(self) -> None:
        Path(self.lock).unlink(missing_ok=True)


def test_a_run_that_is_aborted_leaves_its_detector_and_valid_files(
    client: Client, tmp_path: Path
) -> None:
    camera = Held(shape=(64, 48), faults={"drop": [23]}, lock=str(tmp_path / "lock"))
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"))
    policy = ld.Policy(on_absent="abort")
    given: Any = {"expo_time": 2e-3, "buffers": BLOCKS, "policy": policy}
    with ld.Acquisition(client, camera, pipe, nb_frames=50_000, **given) as acquisition:
        acquisition.prepare()
        assert Path(camera.lock).exists()
        acquisition.start()
        with pytest.raises(ld.AcquisitionFailed, match="1 frames are absent"):
            acquisition.wait(timeout=60)
        assert not Path(camera.lock).exists()  # it was given back
        received = acquisition.statistics()["received"]
        status = acquisition.ledger.status.values
        assert received < 50_000
    with h5py.File(acquisition.files["file"]) as file:
        data, saved = file["entry/data/data"], file["entry/data/frame_status"][()]
        assert saved.tolist() == status.tolist()
        present = np.flatnonzero(saved == ld.Status.PRESENT).tolist()
        assert len(present) == acquisition.record().counts()["present"] >= 20
        assert all(np.array_equal(data[one], camera.frame(one).values[0]) for one in present)
        assert (data[23] == np.iinfo(data.dtype).max).all()
    with acquisition_of(client, tmp_path / "next", {}, nb_frames=10) as following:
        following.prepare()
        following.start()
        following.wait(timeout=60)
    assert following.record().counts()["present"] == 10
    assert acquisition.statistics()["received"] == received


class Flaky(ld.Task):
    """Raises the first time that it gets a block; writes down each time."""

    folder: str

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        log = Path(self.folder) / str(int(block["frame"][0]))
        is_new = not log.exists()
        with log.open("a") as file:
            file.write("x")
        if is_new:
            raise OSError("not the first time")
        return block


@pytest.mark.parametrize(("on_error", "calls", "present"), [("retry", 2, 100), ("mark", 1, 0)])
def test_a_task_that_raises_once_is_tried_again_where_the_policy_says_so(
    client: Client, tmp_path: Path, on_error: Any, calls: int, present: int
) -> None:
    (tmp_path / "calls").mkdir()
    pipe = ld.Pipeline()
    pipe.add("flaky", Flaky(folder=str(tmp_path / "calls")))
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after="flaky")
    with ld.Acquisition(
        client, Simulator(shape=(64, 48)), pipe, nb_frames=100, expo_time=1e-3, buffers=BLOCKS,
        policy=ld.Policy(on_error=on_error),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    logs = {int(log.name): log.read_text() for log in (tmp_path / "calls").iterdir()}
    assert logs == dict.fromkeys(range(0, 100, 5), "x" * calls)
    assert acquisition.record().counts()["present"] == present
    assert bool(acquisition.statistics()["failures"]) == (not present)
    absent = {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)}
    assert absent == (set() if present else {"task_error:flaky"})


def test_the_only_receiver_that_dies_ends_a_run_that_allows_no_absent_frame(
    tmp_path: Path,
) -> None:
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        acquisition = acquisition_of(
            client, tmp_path, {}, nb_frames=400, expo_time=5e-3,
            policy=ld.Policy(on_absent="abort"), topology=ld.Topology(roles="separate"),
        )  # fmt: skip
        acquisition.prepare()
        software = acquisition.parameters.software
        assert software is not None
        killed: list[str] = []

        def kill(status: dict[str, Any]) -> None:
            if status["processed"] > 50 and not killed:
                killed.append(software.receivers[0])
                cluster.send(killed[0], signal.SIGKILL)

        acquisition.start()
        with pytest.raises(ld.AcquisitionFailed, match=r"is lost, and with it all frames"):
            acquisition.wait(timeout=60, told=kill)
        counts = acquisition.record().counts()
        assert counts["present"] >= 50
        assert sum(counts.values()) == 400
        (absent,) = {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)}
        assert absent == "receiver_lost"


@pytest.mark.parametrize("assembled", [False, True], ids=["apart", "assembled"])
@pytest.mark.parametrize(
    ("policy", "fails"), [(ld.Policy(on_absent="abort"), True), (ld.Policy(max_absent=3), False)]
)
def test_frames_that_lack_a_module_count(
    client: Client, tmp_path: Path, assembled: bool, policy: ld.Policy, fails: bool
) -> None:
    pipe = ld.Pipeline()
    if assembled:
        pipe.add("whole", Assemble())
    parent = "whole" if assembled else "input"
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="run"), after=parent)
    faults = {"drop": [7, 20, 59], "receivers": [1], "lose_packets": [30]}
    with ld.Acquisition(
        client, Simulator(shape=(68, 48), modules=2, gap=4, faults=faults), pipe, nb_frames=60,
        expo_time=2e-3, buffers=BLOCKS, policy=policy,
        topology=ld.Topology(receivers=2, workers=2, dispatch="partial"),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        acquisition.start()
        if fails:
            with pytest.raises(ld.AcquisitionFailed, match="lack a module, the policy allows 0"):
                acquisition.wait(timeout=60)
        else:
            acquisition.wait(timeout=60)
            counts = acquisition.record().counts()
            assert (counts["present"], counts["partial"], counts["absent"]) == (56, 4, 0)
