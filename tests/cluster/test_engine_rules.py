"""The engine's rules (docs/explanation/engine.md): what keeps a run right and its cost flat."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask.utils import key_split
from distributed import Client, Worker

import limadask as ld
from limadask.cluster.graph import ticket_tasks
from limadask.engine.port import Ticket
from limadask_detectors import Simulator
from limadask_tasks import Flip, RoiStatistics, SaveHdf5

Run = Callable[..., ld.Acquisition]
ROI = ld.Rect(0, 0, 8, 8)
BOUND = 10.0


class Raising(ld.PixelTask):
    """Raises for every block."""

    def kernel(self, spec: ld.Spec) -> Any:
        def work(pixels: np.ndarray[Any, Any], out: np.ndarray[Any, Any]) -> None:
            if pixels.any():  # not while it is compiled
                raise ValueError("no good")

        return work


class Slow(ld.Task):
    """Burns some time on every block."""

    milliseconds: float

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        import time

        end = time.perf_counter() + self.milliseconds / 1000
        while time.perf_counter() < end:
            pass
        return block.copy()


def tasks_left(dask_scheduler: Any) -> list[str]:
    return [str(key) for key in dask_scheduler.tasks]


def test_no_key_is_left_after_a_run(client: Client, run: Run) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    acquisition = run(pipe)
    left = client.run_on_scheduler(tasks_left)
    assert not [key for key in left if acquisition.uuid in key]


def test_an_exception_in_a_task_holds_no_slot(client: Client, run: Run) -> None:
    pipe = ld.Pipeline()
    pipe.add("bad", Raising())
    buffers = ld.Buffers(nb_frames_per_block=2, nbytes=4 * 2 * 64 * 48 * 2)
    acquisition = run(pipe, buffers=buffers, nb_frames=40)
    # with four slots in all, forty frames came through only because each slot came back
    assert acquisition.parameters.software is not None
    assert acquisition.parameters.software.nb_slots == 4
    assert acquisition.record().counts()["absent"] == 40
    assert set(acquisition.ledger.cause.values) == {"task_error:bad"}


def test_the_other_branch_gets_its_frames_when_a_task_raises(run: Run, tmp_path: Any) -> None:
    pipe = ld.Pipeline()
    pipe.add("bad", Raising())
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    acquisition = run(pipe)
    assert acquisition.record().counts()["partial"] == 40
    assert acquisition.data["stats"].sizes["frame"] == 40
    failure = acquisition.statistics()["failures"][0]
    assert (failure["node"], failure["text"]) == ("bad", "ValueError: no good")


def test_tickets_say_nothing_but_uuid_number_and_receiver() -> None:
    tasks = ticket_tasks("a" * 32, "input+flat", [Ticket(7, "tcp://w:1", "tcp://w:1")])
    ((worker, made),) = tasks.items()
    (task,) = made.values()
    assert worker == "tcp://w:1"
    assert task.args == ("a" * 32, 7, "tcp://w:1")
    assert len(pickle.dumps(task)) < 500


def test_source_and_steps_are_one_task_where_they_share_a_worker() -> None:
    one = ticket_tasks("u", "label", [Ticket(0, "a", "a")])
    two = ticket_tasks("u", "label", [Ticket(0, "a", "b")])
    assert {worker: len(made) for worker, made in one.items()} == {"a": 1}
    assert {worker: len(made) for worker, made in two.items()} == {"a": 1, "b": 1}


def test_prefixes_on_the_dashboard_show_nodes_without_uuids(run: Run, client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("upside_down", Flip(axis="y"))
    pipe.add("stats", RoiStatistics(rois=[ROI]), after="upside_down")
    acquisition = run(pipe)
    label = "input+upside_down+stats"
    assert key_split((f"{label}-{acquisition.uuid}", 3)) == label
    prefixes = client.run_on_scheduler(
        lambda dask_scheduler: [str(name) for name in dask_scheduler.task_prefixes]
    )
    assert label in prefixes
    assert not [name for name in prefixes if acquisition.uuid in name]


def test_every_node_is_a_task_when_not_fused(run: Run, client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("mirrored_here", Flip(axis="x"))
    pipe.add("counted_here", RoiStatistics(rois=[ROI]), after="mirrored_here")
    acquisition = run(pipe, fuse=False)
    assert acquisition.record().counts()["present"] == 40
    prefixes = client.run_on_scheduler(
        lambda dask_scheduler: [str(name) for name in dask_scheduler.task_prefixes]
    )
    assert {"mirrored_here", "counted_here", "receive"} <= set(prefixes)


def test_processing_stays_on_the_workers_it_is_meant_for(run: Run) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    acquisition = run(pipe, topology=ld.Topology(workers=2, roles="separate"), nb_frames=60)
    software = acquisition.parameters.software
    assert software is not None
    assert len(software.processors) == 2
    assert not set(software.processors) & set(software.receivers)
    assert acquisition.record().counts()["present"] == 60


def test_a_later_acquisition_does_not_wait_behind_a_backlog(client: Client) -> None:
    slow, quick = ld.Pipeline(), ld.Pipeline()
    slow.add("slow", Slow(milliseconds=20))
    quick.add("stats", RoiStatistics(rois=[ROI]))
    one = ld.Buffers(nb_frames_per_block=1)
    camera = Simulator(shape=(64, 48))
    topology = ld.Topology(workers=3)
    backlog = ld.Acquisition(
        client, camera, slow, nb_frames=600, expo_time=0, buffers=one, topology=topology
    )
    later = ld.Acquisition(
        client, camera, quick, nb_frames=30, expo_time=1e-3, buffers=one, topology=topology
    )
    with backlog, later:
        backlog.prepare()
        backlog.start()
        later.prepare()
        later.start()
        later.wait(timeout=60)
        status = backlog.statistics()
        assert status["processed"] < 600, "there was no backlog: the test says nothing"
        backlog.abort()
        backlog.wait(timeout=60)
    assert later.record().counts()["present"] == 30


async def priorities(uuids: list[str], dask_scheduler: Any) -> list[list[int]]:
    """Dask's priorities of the tickets of some acquisitions, in their order; smaller go first."""
    found: list[list[int]] = [[]]
    async with asyncio.timeout(BOUND):
        while not all(found):  # tickets are handed out beside the answer of prepare
            await asyncio.sleep(0.01)
            tasks = dask_scheduler.tasks.items()
            tickets = {key: one for key, one in tasks if isinstance(key, tuple)}
            found = [
                [tickets[key].priority[0] for key in sorted(tickets) if key[0].endswith(uuid)]
                for uuid in uuids
            ]
    return found


def test_dask_has_the_same_order_by_acquisition_and_then_by_block(client: Client) -> None:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    urgent, older, newest = (
        ld.Acquisition(client, Simulator(shape=(64, 48)), pipe, nb_frames=50, priority=priority)
        for priority in (1, 0, 0)
    )
    with urgent, older, newest:
        for one in (urgent, older, newest):
            one.prepare()
        order = [one.uuid for one in (urgent, newest, older)]
        by_acquisition = client.run_on_scheduler(priorities, order)
    assert all(len(set(one)) > 1 for one in by_acquisition)
    ranked = [one for tickets in by_acquisition for one in tickets]
    assert ranked == sorted(ranked)
    assert len(set(ranked)) == len(ranked)


def watch_parking(dask_worker: Worker) -> None:
    """Note how many context variables there are where a ticket gives its thread slot back."""
    parked: list[int] = []
    handle = dask_worker.handle_stimulus

    def note(*events: Any) -> None:
        if any(one.stimulus_id.startswith("limadask-park") for one in events):
            parked.append(len(contextvars.copy_context()))
        handle(*events)

    dask_worker.handle_stimulus = note
    dask_worker.extensions["test-parked"] = parked


def end_watching(dask_worker: Worker) -> list[int]:
    del dask_worker.handle_stimulus
    return list(dask_worker.extensions.pop("test-parked"))


def test_tickets_park_in_a_fresh_context(client: Client, run: Run) -> None:
    """What parks starts the next task: it would inherit the context, with Dask's callbacks."""
    client.run(watch_parking)
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    try:
        run(pipe, buffers=ld.Buffers(nb_frames_per_block=1))
    finally:
        parked = [count for counts in client.run(end_watching).values() for count in counts]
    assert len(parked) >= 40
    assert set(parked) == {0}


def test_workers_are_tuned(client: Client, run: Run) -> None:
    run(ld.Pipeline())
    for interval in client.run(sys.getswitchinterval).values():
        assert interval == pytest.approx(1e-4)


def test_a_pool_that_dask_would_choke_on_is_refused(client: Client) -> None:
    huge = ld.Buffers(nbytes="1900 MiB")
    acquisition = ld.Acquisition(client, Simulator(), buffers=huge)
    with pytest.raises(ld.ConfigError) as caught:
        acquisition.prepare()
    assert (caught.value.node, caught.value.field) == ("buffers", "nbytes")


def test_dropped_frames_are_expected_minus_acknowledged(run: Run, tmp_path: Any) -> None:
    camera = Simulator(shape=(64, 48), faults={"drop": [0, 1, 17, 38, 39]})
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), prefix="gaps"))
    acquisition = run(pipe, camera)
    record = acquisition.record()
    assert record.ranges(ld.Status.ABSENT) == [
        (0, 1, "detector"),
        (17, 17, "detector"),
        (38, 39, "detector"),
    ]
    assert record.counts() == {"present": 35, "partial": 0, "absent": 5, "vetoed": 0}
