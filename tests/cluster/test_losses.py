"""Workers, clients and schedulers that die or freeze: every frame is accounted for."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.link import Link
from limadask.cluster.local import ProcessCluster, process_cluster
from limadask.engine.port import Ticket
from limadask.memory import BufferPool
from limadask.storage import read_contents, series_files
from limadask_detectors import Simulator
from limadask_tasks import RoiStatistics, SaveHdf5

CAMERA = Simulator(shape=(64, 48))
FROZEN_IS_DEAD = {"limadask.worker-stale-after": 1.0}


class Busy(ld.Task):
    """Takes its time, so that there is a backlog."""

    milliseconds: float = 10

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        end = time.perf_counter() + self.milliseconds / 1000
        while time.perf_counter() < end:
            pass
        return block.copy()


class Gated(ld.Task):
    """Says that it has a block, and waits for leave."""

    folder: str

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        (Path(self.folder) / "began").touch()
        deadline, never = time.monotonic() + 60, threading.Event()
        while not (Path(self.folder) / "go").exists() and time.monotonic() < deadline:
            never.wait(0.02)
        return block


def when(condition: Callable[[dict[str, Any]], bool], action: Callable[[], object]) -> Any:
    """Return a callback for ``wait`` that acts once when the statistics fulfil a condition."""
    done: list[object] = []

    def told(status: dict[str, Any]) -> None:
        if not done and condition(status):
            done.append(action())

    return told


def name_of(acquisition: ld.Acquisition, role: str, number: int = 0) -> str:
    software = acquisition.parameters.software
    assert software is not None
    return str(getattr(software, role)[number])


def saving(folder: Path, *more: tuple[str, ld.Task]) -> ld.Pipeline:
    pipe = ld.Pipeline()
    parent = "input"
    for name, task in more:
        pipe.add(name, task, after=parent)
        parent = name
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after=parent)
    return pipe


def saved(acquisition: ld.Acquisition) -> set[int]:
    """Return the frames the master says are there, each compared with the simulator's."""
    with h5py.File(acquisition.files["file"]) as file:
        status = file["entry/data/frame_status"][()]
        present = np.flatnonzero(status == ld.Status.PRESENT)
        for number in present.tolist():
            expected = CAMERA.frame(number).values[0]
            assert np.array_equal(file["entry/data/data"][number], expected), number
    return set(present.tolist())


def assert_accounted(acquisition: ld.Acquisition, nb_frames: int) -> dict[str, int]:
    counts = acquisition.record().counts()
    assert sum(counts.values()) == nb_frames
    for _, _, cause in acquisition.record().ranges(ld.Status.ABSENT):
        assert cause
    return counts


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_blocks_of_a_lost_processing_worker_go_to_another(
    tmp_path: Path, sign: signal.Signals
) -> None:
    with process_cluster(3, settings=FROZEN_IS_DEAD) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client,
            CAMERA,
            saving(tmp_path, ("busy", Busy())),
            nb_frames=300,
            expo_time=2e-3,
            topology=ld.Topology(workers=2, roles="separate"),
            buffers=ld.Buffers(nb_frames_per_block=5),
        )
        with acquisition:
            acquisition.prepare()
            lost = name_of(acquisition, "processors", 1)
            acquisition.start()
            kill = when(lambda told: told["processed"] > 50, lambda: cluster.send(lost, sign))
            acquisition.wait(told=kill, timeout=60)
        assert assert_accounted(acquisition, 300)["present"] == 300
        assert saved(acquisition) == set(range(300))


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_frames_of_a_lost_receiver_are_absent_with_their_cause(
    tmp_path: Path, sign: signal.Signals
) -> None:
    with process_cluster(2, settings=FROZEN_IS_DEAD) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client,
            CAMERA,
            saving(tmp_path),
            nb_frames=400,
            expo_time=5e-3,
            topology=ld.Topology(workers=1, roles="separate"),
            buffers=ld.Buffers(nb_frames_per_block=5),
        )
        with acquisition:
            acquisition.prepare()
            lost = name_of(acquisition, "receivers")
            acquisition.start()
            kill = when(lambda told: told["processed"] > 50, lambda: cluster.send(lost, sign))
            acquisition.wait(told=kill, timeout=60)
        counts = assert_accounted(acquisition, 400)
        assert counts["present"] >= 50
        assert {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)} == {
            "receiver_lost"
        }
        assert len(saved(acquisition)) == counts["present"]


def forget_receipts(dask_worker: Any) -> None:
    """Lose receipts, as Dask does where a block is done just as its receiver's loss is told."""
    dask_worker.extensions["limadask"]._leave_receipt = lambda *told: None


def test_a_saved_block_is_present_though_dask_forgot_its_receipt(tmp_path: Path) -> None:
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client,
            CAMERA,
            saving(tmp_path, ("gate", Gated(folder=str(tmp_path)))),
            nb_frames=40,
            expo_time=2e-3,
            topology=ld.Topology(workers=1, roles="separate"),
            buffers=ld.Buffers(nb_frames_per_block=5),
        )
        with acquisition:
            acquisition.prepare()
            client.run(forget_receipts)
            lost = name_of(acquisition, "receivers")
            known = len(client.scheduler_info()["workers"])
            acquisition.start()
            began, go = tmp_path / "began", tmp_path / "go"
            kill = when(lambda _: began.exists(), lambda: cluster.send(lost, signal.SIGKILL))
            leave = when(lambda _: len(client.scheduler_info()["workers"]) < known, go.touch)
            acquisition.wait(told=lambda told: (kill(told), leave(told)), timeout=60)
        assert_accounted(acquisition, 40)
        present = acquisition.record().ranges(ld.Status.PRESENT)
        told = {number for first, last, _ in present for number in range(first, last + 1)}
        assert saved(acquisition) == told >= {0, 1, 2, 3, 4}


def test_the_run_ends_when_the_last_worker_dies(tmp_path: Path) -> None:
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(client, CAMERA, saving(tmp_path), nb_frames=0, expo_time=2e-3)
        acquisition.prepare()
        acquisition.start()
        kill = when(
            lambda told: told["processed"] > 20,
            lambda: cluster.send("worker-0", signal.SIGKILL),
        )
        with pytest.raises(ld.AcquisitionFailed, match="no worker"):
            acquisition.wait(told=kill, timeout=60)
        assert acquisition.state == ("failed", "failed")


def test_a_ticket_for_a_worker_that_is_gone_does_not_hang() -> None:
    def too_late(dask_scheduler: Any) -> None:
        plugin = dask_scheduler.plugins["limadask"]
        gone = "tcp://127.0.0.1:1"
        plugin.submit("no-such-run", "label", 0, [Ticket(0, gone, gone), Ticket(1, gone, gone)], [])

    def waiting(dask_scheduler: Any) -> int:
        return len(dask_scheduler.plugins["limadask"]._keys)

    with process_cluster(1) as cluster, Client(cluster.address) as client:
        Link.of(client)
        client.run_on_scheduler(too_late)
        deadline = time.monotonic() + 10
        while client.run_on_scheduler(waiting):
            assert time.monotonic() < deadline, "tickets pinned to a dead worker wait for ever"


STARTER = """
    import sys
    from distributed import Client
    import limadask as ld
    from limadask_detectors import Simulator
    from limadask_tasks import SaveHdf5

    address, folder, starts = sys.argv[1:]
    client = Client(address)
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=folder, prefix="run"))
    acquisition = ld.Acquisition(
        client, Simulator(shape=(64, 48)), pipe, nb_frames=600, expo_time=5e-3,
        topology=ld.Topology(workers=1, roles="separate"),
    )
    acquisition.prepare()
    if starts == "start":
        acquisition.start()
    receiver = acquisition.parameters.software.receivers[0]
    print(acquisition.uuid, receiver, flush=True)
    sys.stdin.read()
"""


def started_elsewhere(
    cluster: ProcessCluster, folder: Path, starts: str = "start"
) -> tuple[Any, str, str]:
    """Start a run from a process of its own; return the process, the uuid and the receiver."""
    program = textwrap.dedent(STARTER)
    command = [sys.executable, "-c", program, cluster.address, str(folder), starts]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    uuid, receiver = process.stdout.readline().split()
    return process, uuid, receiver


def follow(link: Link, uuid: str, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    listener = link.listen(uuid)
    deadline = time.monotonic() + 60
    while not until(status := link.ask("status", uuid=uuid)["status"]):
        assert time.monotonic() < deadline, status
        listener.get(timeout=0.2)
    return dict(status)


def test_a_run_outlives_its_client_and_then_its_receiver(tmp_path: Path) -> None:
    with process_cluster(2) as cluster:
        starter, uuid, receiver = started_elsewhere(cluster, tmp_path)
        try:
            with Client(cluster.address) as client:
                link = Link.of(client)
                follow(link, uuid, lambda told: told["processed"] > 50)
                starter.kill()
                starter.wait()
                before = link.ask("status", uuid=uuid)["status"]["processed"]
                follow(link, uuid, lambda told: told["processed"] > before + 50)
                cluster.send(receiver, signal.SIGKILL)
                status = follow(link, uuid, lambda told: told["is_over"])
        finally:
            starter.kill()
            starter.communicate()
        frames = status["frames"]
        assert sum(frames.values()) == 600
        assert frames["present"] > 100
        assert Path(status["files"]["file"]).is_file()


def held(dask_worker: Any) -> tuple[int, int]:
    """How many runs a worker knows, and how many pools are in its memory."""
    pools = sum(type(one) is BufferPool for one in gc.get_objects())
    return len(dask_worker.extensions["limadask"]._stations), pools


def test_a_run_that_was_only_prepared_is_aborted_when_its_client_dies(tmp_path: Path) -> None:
    with process_cluster(2) as cluster:
        starter, uuid, receiver = started_elsewhere(cluster, tmp_path, "never")
        try:
            with Client(cluster.address) as client:
                following = ld.attach(client, uuid)
                assert following.state == ("prepared", "ready")
                names = client.run(lambda dask_worker: dask_worker.name)
                (control,) = (one for one, name in names.items() if name == receiver)
                assert client.run(held)[control] == (1, 1)
                starter.kill()
                starter.wait()
                link = Link.of(client)
                status = follow(link, uuid, lambda told: told["is_over"])
                assert following.state == ("aborted", "aborted")
                assert (status["error"], status["frames"]["absent"]) == ("", 600)
                deadline = time.monotonic() + 60
                while set(client.run(held).values()) != {(0, 0)}:  # released right after its end
                    assert time.monotonic() < deadline, client.run(held)
        finally:
            starter.kill()
            starter.communicate()


def test_workers_save_what_they_hold_when_the_scheduler_dies(tmp_path: Path) -> None:
    with process_cluster(2) as cluster:
        starter, uuid, _ = started_elsewhere(cluster, tmp_path)
        try:
            with Client(cluster.address) as client:
                status = follow(Link.of(client), uuid, lambda told: told["processed"] > 50)
                cluster.scheduler.kill()
                for worker in cluster.workers.values():
                    worker.wait(timeout=60)  # they drain, and end by themselves
        finally:
            starter.kill()
            starter.communicate()
        files = [path for paths in series_files(tmp_path, "run").values() for path in paths]
        numbers = read_contents(files).numbers
        assert len(numbers) >= status["processed"]
        with h5py.File(files[0], "r") as file:  # plain reading: it was closed in order
            assert len(file["entry/data/data"]) > 0


def test_statistics_keep_coming_when_a_processor_dies() -> None:
    pipe = ld.Pipeline()
    pipe.add("busy", Busy(milliseconds=5))
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]), after="busy")
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client,
            CAMERA,
            pipe,
            nb_frames=200,
            expo_time=2e-3,
            topology=ld.Topology(workers=2, roles="separate"),
            buffers=ld.Buffers(nb_frames_per_block=4),
        )
        with acquisition:
            acquisition.prepare()
            lost = name_of(acquisition, "processors", 0)
            acquisition.start()
            kill = when(
                lambda told: told["processed"] > 40, lambda: cluster.send(lost, signal.SIGKILL)
            )
            acquisition.wait(told=kill, timeout=60)
        stats = acquisition.data["stats"]
        assert stats.frame.values.tolist() == list(range(200))
        expected = [CAMERA.frame(n).values[0, :8, :8].sum() for n in range(0, 200, 20)]
        assert stats["sum"].values[::20, 0, 0].tolist() == expected


@pytest.mark.parametrize("dispatch", ["round_robin", "dynamic", "broadcast"])
@pytest.mark.parametrize("roles", ["shared", pytest.param("separate", marks=pytest.mark.soak)])
def test_the_other_receiver_goes_on(tmp_path: Path, dispatch: Any, roles: Any) -> None:
    shared = roles == "shared"
    topology = ld.Topology(receivers=2, workers=2 if shared else 1, roles=roles, dispatch=dispatch)
    with process_cluster(2 if shared else 3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, saving(tmp_path), nb_frames=600, expo_time=4e-3, topology=topology,
            buffers=ld.Buffers(nb_frames_per_block=5),
        )  # fmt: skip
        with acquisition:
            acquisition.prepare()
            lost = name_of(acquisition, "receivers", 1)
            acquisition.start()
            kill = when(
                lambda told: told["processed"] > 50, lambda: cluster.send(lost, signal.SIGKILL)
            )
            acquisition.wait(told=kill, timeout=60)
        assert acquisition.state == ("acquired", "processed")
        counts = assert_accounted(acquisition, 600)
        ranges = acquisition.record().ranges(ld.Status.ABSENT)
        assert {cause for *_, cause in ranges} == {"receiver_lost"}
        absent = {number for first, last, _ in ranges for number in range(first, last + 1)}
        if dispatch == "dynamic":  # what comes after goes to the other one
            assert counts["present"] > 550
            assert max(absent) < 550
        else:
            assert {number % 2 for number in absent} == {1}
            assert counts["present"] > 300  # all even ones, and those before the kill
        assert saved(acquisition) == set(range(600)) - absent


def test_a_lost_receiver_ends_the_run_where_no_frame_may_be_absent(tmp_path: Path) -> None:
    topology = ld.Topology(receivers=2, workers=1, roles="separate", dispatch="round_robin")
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, saving(tmp_path), nb_frames=5000, expo_time=4e-3, topology=topology,
            buffers=ld.Buffers(nb_frames_per_block=5), policy=ld.Policy(on_absent="abort"),
        )  # fmt: skip
        acquisition.prepare()
        lost = name_of(acquisition, "receivers", 1)
        acquisition.start()
        kill = when(lambda told: told["processed"] > 20, lambda: cluster.send(lost, signal.SIGKILL))
        began = time.monotonic()
        with pytest.raises(ld.AcquisitionFailed, match="frames are absent, the policy allows 0"):
            acquisition.wait(told=kill, timeout=60)
        assert time.monotonic() - began < 15  # not the 20 s that all frames would take
        assert_accounted(acquisition, 5000)


def test_a_stopped_process_counts_as_dead_long_before_a_silent_one(tmp_path: Path) -> None:
    topology = ld.Topology(receivers=2, workers=1, roles="separate", dispatch="round_robin")
    with process_cluster(3) as cluster, Client(cluster.address) as client:  # stale after 5 s
        acquisition = ld.Acquisition(
            client, CAMERA, saving(tmp_path), nb_frames=3000, expo_time=4e-3, topology=topology,
            buffers=ld.Buffers(nb_frames_per_block=5),
        )  # fmt: skip
        with acquisition:
            acquisition.prepare()
            lost = name_of(acquisition, "receivers", 1)
            acquisition.start()
            stopped = 0.0
            for event in acquisition.events():
                if isinstance(event, ld.FramesDone) and event.count > 50 and not stopped:
                    cluster.send(lost, signal.SIGSTOP)
                    stopped = time.time()
                if isinstance(event, ld.FramesAbsent) and event.cause == "receiver_lost":
                    assert event.time - stopped < 2
                    break
            acquisition.abort()
        assert assert_accounted(acquisition, 3000)["present"] >= 50
