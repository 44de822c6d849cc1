"""Blocks on their way from the worker that received them to the one that processes them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from dask.sizeof import sizeof
from distributed import Client
from modules import readers, share
from waiting import until

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.cluster.transfer import SHARED_FROM, SharedBlock, Transfers
from limadask.engine.messages import dumps
from limadask.frames import Frames
from limadask.memory import BUDGET, BufferPool, SharedAllocator
from limadask_detectors import Simulator
from limadask_tasks import SaveHdf5

CAMERA = Simulator(shape=(512, 1024))
FRAME = 512 * 1024 * 2
SEPARATE = ld.Topology(workers=2, roles="separate")
FEW_SLOTS = ld.Buffers(nb_frames_per_block=1, nbytes=6 * FRAME)
FROZEN_IS_DEAD = {"limadask.worker-stale-after": 1.0}
RunIt = Callable[..., ld.Acquisition]


class Busy(ld.Task):
    """Takes its time, so that there is a backlog."""

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        end = time.perf_counter() + 0.02
        while time.perf_counter() < end:
            pass
        return block


class Writing(ld.Task):
    """Works on the memory it is given, which it must not."""

    def plan(self, spec: ld.Spec) -> ld.Spec:
        return spec

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        block.values[...] = 0
        return block


def opened(client: Client) -> list[str]:
    """The shared memory that workers have open."""
    return [one for found in client.run(_shared_memory_open).values() for one in found]


def _forget_readers(dask_worker: Any) -> None:
    dask_worker.extensions["limadask"].transfers._readers.clear()


def _shared_memory_open() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        found += [target] if "limadask" in target else []
    return found


@pytest.fixture
def by_tcp(client: Client) -> Iterator[None]:
    share(client, False)
    yield
    share(client, True)


def saving(folder: Path) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("busy", Busy())
    pipe.add("file", SaveHdf5(folder=str(folder), prefix="run"), after="busy")
    return pipe


def saved(acquisition: ld.Acquisition) -> set[int]:
    """Return the frames the master says are there, each compared with the simulator's."""
    with h5py.File(acquisition.files["file"]) as file:
        status = file["entry/data/frame_status"][()]
        present = np.flatnonzero(status == ld.Status.PRESENT)
        bank = CAMERA.source()  # drawn once: that takes longer than all frames
        expected = bank.blank()
        for number in present.tolist():
            bank.fill(number, expected)
            assert np.array_equal(file["entry/data/data"][number], expected[0]), number
    return set(present.tolist())


def acquisition_of(client: Client, what: Path | ld.Pipeline, **fields: Any) -> ld.Acquisition:
    given: dict[str, Any] = {"nb_frames": 24, "expo_time": 2e-3, "topology": SEPARATE}
    given |= {"buffers": FEW_SLOTS, **fields}
    pipe = saving(what) if isinstance(what, Path) else what
    return ld.Acquisition(client, CAMERA, pipe, **given)


def finish(acquisition: ld.Acquisition, **arguments: Any) -> None:
    acquisition.start()
    acquisition.wait(timeout=60, **arguments)


def test_blocks_go_through_shared_memory_and_slots_come_back(
    client: Client, tmp_path: Path
) -> None:
    files = set(os.listdir("/dev/shm"))
    with acquisition_of(client, tmp_path) as acquisition:
        acquisition.prepare()
        assert readers(client) == 2
        assert opened(client)
        assert set(os.listdir("/dev/shm")) == files
        finish(acquisition)  # four times as many frames as slots
    assert saved(acquisition) == set(range(24))
    assert readers(client) == 0
    until(lambda: not opened(client), 10.0)


@pytest.mark.usefixtures("by_tcp")
def test_blocks_go_by_tcp_where_it_is_wanted(client: Client, tmp_path: Path) -> None:
    with acquisition_of(client, tmp_path) as acquisition:
        acquisition.prepare()
        assert readers(client) == 0
        finish(acquisition)
    assert saved(acquisition) == set(range(24))


def test_small_blocks_go_by_tcp(client: Client) -> None:
    small = Simulator(shape=(64, 48))
    with ld.Acquisition(
        client, small, ld.Pipeline(), nb_frames=9, topology=SEPARATE
    ) as acquisition:
        acquisition.prepare()
        assert readers(client) == 0


def test_a_block_that_cannot_be_opened_is_fetched(client: Client, tmp_path: Path) -> None:
    with acquisition_of(client, tmp_path) as acquisition:
        acquisition.prepare()
        client.run(_forget_readers)  # as on a worker that could not open them at prepare
        finish(acquisition)
    assert saved(acquisition) == set(range(24))


def test_that_a_worker_of_the_same_computer_cannot_open_it_is_told(
    client: Client, tmp_path: Path
) -> None:
    said = r"blocks go to tcp://\S+ by TCP: shared memory cannot be opened there: .*another user"
    with acquisition_of(client, tmp_path) as acquisition:
        before = client.run(_refuse_to_open)
        try:
            with pytest.warns(ld.FallbackWarning, match=said) as caught:
                acquisition.prepare()
        finally:
            client.run(_open_again)
        assert readers(client) == 0
        finish(acquisition)
    assert len(caught) == len(before) - 1, "one for each that processes"
    assert saved(acquisition) == set(range(24))


def _refuse_to_open() -> None:
    from limadask.memory import reader

    def refuse(segment: Any) -> int:
        raise PermissionError("the memory of another user")

    reader.opened, reader.as_it_was = refuse, reader.opened


def _open_again() -> None:
    from limadask.memory import reader

    reader.opened = reader.as_it_was


@pytest.mark.parametrize(("left", "opens"), [(None, True), (300 << 20, True), (60 << 20, False)])
def test_what_the_budget_of_a_process_has_no_room_for_is_not_opened(
    left: int | None, opens: bool
) -> None:
    allocator = SharedAllocator(1, 100 << 20)
    transfers = Transfers(SimpleNamespace(), lambda uuid: None)
    before = BUDGET.used
    BUDGET.bound("test", None if left is None else before + left)
    try:
        answer = asyncio.run(transfers.open_shared("run", dumps(allocator.segment)))
    finally:
        BUDGET.bound("test", None)
    assert (answer["result"] == "") == opens
    assert opens or "do not fit" in answer["result"]
    assert BUDGET.used - before == (allocator.segment.nbytes if opens else 0)


def test_an_offer_after_the_end_is_refused() -> None:
    allocator = SharedAllocator(1, FRAME)
    transfers = Transfers(SimpleNamespace(), lambda uuid: None)
    transfers.release("run")
    answer = asyncio.run(transfers.open_shared("run", dumps(allocator.segment)))
    assert answer == {"result": "its acquisition is over there"}


def test_a_task_cannot_write_into_what_others_read(run: RunIt) -> None:
    pipe = ld.Pipeline()
    pipe.add("writing", Writing())
    acquisition = run(pipe, CAMERA, topology=SEPARATE, buffers=FEW_SLOTS, nb_frames=4)
    assert "read-only" in acquisition.statistics()["failures"][0]["text"]


def test_a_handle_is_small_to_dask() -> None:
    allocator = SharedAllocator(1, 4 * FRAME)
    pixels = BufferPool(1, 4 * FRAME, allocator).lend((4, 1, 512, 1024), "u2")
    assert pixels is not None
    handle = allocator.handle(pixels)
    assert handle is not None
    frames = Frames.of(pixels)
    assert sizeof(frames) > 4 * FRAME
    assert sizeof(SharedBlock(frames.carrying(pixels[:0].copy()), handle, "tcp://w")) < 1000
    assert FRAME >= SHARED_FROM, "the other tests are to use shared memory"


def when(condition: Callable[[dict[str, Any]], bool], action: Callable[[], object]) -> Any:
    """Return a callback for ``wait`` that acts once when the statistics fulfil a condition."""
    done: list[object] = []

    def told(status: dict[str, Any]) -> None:
        if not done and condition(status):
            done.append(action())

    return told


def test_the_receiver_is_killed_while_its_memory_is_read(tmp_path: Path) -> None:
    files = set(os.listdir("/dev/shm"))
    with process_cluster(3, settings=FROZEN_IS_DEAD) as cluster, Client(cluster.address) as client:
        with acquisition_of(client, tmp_path, nb_frames=80) as acquisition:
            acquisition.prepare()
            assert readers(client) == 2
            software = acquisition.parameters.software
            assert software is not None
            lost = software.receivers[0]
            kill = when(
                lambda told: told["processed"] > 20, lambda: cluster.send(lost, signal.SIGKILL)
            )
            finish(acquisition, told=kill)
        counts = acquisition.record().counts()
        assert sum(counts.values()) == 80
        assert 20 < counts["present"] < 80
        assert counts["present"] == len(saved(acquisition))
        causes = {cause for *_, cause in acquisition.record().ranges(ld.Status.ABSENT)}
        assert causes == {"receiver_lost"}
        assert opened(client) == []
    assert set(os.listdir("/dev/shm")) == files


def test_a_killed_worker_costs_no_block_that_it_reads(tmp_path: Path) -> None:
    with process_cluster(3) as cluster, Client(cluster.address) as client:
        with acquisition_of(client, tmp_path, nb_frames=60) as acquisition:
            acquisition.prepare()
            software = acquisition.parameters.software
            assert software is not None
            lost = software.processors[1]
            kill = when(
                lambda told: told["processed"] > 15, lambda: cluster.send(lost, signal.SIGKILL)
            )
            finish(acquisition, told=kill)
        assert saved(acquisition) == set(range(60))


class Freezing(ld.Task):
    """Freezes its own process amid a block, once, and then tells whether the pixels stayed."""

    folder: str

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        if int(block["frame"][0]) > 15 and self._is_first():
            before = block.values.copy()
            signal.raise_signal(signal.SIGSTOP)
            same = np.array_equal(before, block.values)
            Path(self.folder, "told").write_text("kept" if same else "lent again")
        return block

    def _is_first(self) -> bool:
        try:
            Path(self.folder, "begun").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def test_memory_that_a_frozen_worker_reads_is_not_lent_again(tmp_path: Path) -> None:
    """60 frames go through 6 slots meanwhile."""
    pipe, log = saving(tmp_path), tmp_path / "told"
    pipe.add("freezing", Freezing(folder=str(tmp_path)))
    with process_cluster(3, settings=FROZEN_IS_DEAD) as cluster, Client(cluster.address) as client:
        with acquisition_of(client, pipe, nb_frames=60) as acquisition:
            acquisition.prepare()
            assert readers(client) == 2
            finish(acquisition)
        assert saved(acquisition) == set(range(60))
        assert not log.exists()  # it is still frozen
        for name in cluster.workers:
            cluster.send(name, signal.SIGCONT)
        deadline, looking = time.monotonic() + 30, threading.Event()
        while not (log.exists() and log.read_text()):
            assert time.monotonic() < deadline, "it did not go on"
            looking.wait(0.02)
        assert log.read_text() == "kept"
