"""Workers that do not answer: what the run says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from limadask.engine.messages import loads
from limadask.engine.options import Bounds, Options
from limadask.engine.port import Nodes, Ticket, WorkerInfo
from limadask.engine.run import Run
from limadask.errors import StalledError
from limadask.events import Event

BOUNDS = Bounds(prepare=0.1, command=0.1, settle=0.1, close=0.1)
MADE = {
    "prepared": b"", "nb_frames": 10, "per_block": 5, "prepares_ahead": False, "pauses": False,
    "recorded": {},
    "timing": {"period": 0.0, "trigger_mode": "software", "per_trigger": 1},
}  # fmt: skip
ANSWERS = {
    "limadask_prepare": MADE,
    "limadask_check": {"graph": [], "names": {}},
    "limadask_setup": {"ready": b"", "settings": {}},
}


class Cluster:
    """One worker that leaves some questions unanswered."""

    def __init__(self, *silent: str) -> None:
        self._silent = silent
        self._jobs: set[asyncio.Task[None]] = set()

    def workers(self) -> list[WorkerInfo]:
        return [WorkerInfo("tcp://here", "worker-0", 1, 0, None)]

    async def call(self, worker: str, operation: str, uuid: str, **message: Any) -> Any:
        if operation.removeprefix("limadask_") in self._silent:
            await asyncio.Event().wait()
        return ANSWERS.get(operation)

    def send(self, worker: str, operation: str, uuid: str, **message: Any) -> None:
        pass

    def submit(
        self, uuid: str, label: str, rank: int, tickets: Sequence[Ticket], nodes: Nodes
    ) -> None:
        pass

    def publish(self, event: Event) -> None:
        pass

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)


def run_on(cluster: Cluster) -> Run:
    options = Options(1, 1, True, None, "input")
    return Run("uuid", 0, b"", options, cluster, BOUNDS)


PREPARING = {
    "greet": "greeting the workers",
    "open": "opening the receivers",
    "prepare": "configuring the detector",
    "check": "checking files",
    "setup": "opening files and compiling",
}


@pytest.mark.parametrize("silent", PREPARING)
def test_preparing_says_what_took_too_long_and_whom_it_waited_for(silent: str) -> None:
    async def prepared() -> Run:
        run = run_on(Cluster(silent))
        await run.prepare()
        return run

    run = asyncio.run(prepared())
    error = loads(run.pickled_error)
    assert isinstance(error, StalledError)
    assert (error.stage, error.last_frame) == (PREPARING[silent], -1)
    assert f"no answer from worker-0 to '{silent}'; check" in run.error


def test_a_detector_that_does_not_start_is_named() -> None:
    async def started() -> Run:
        run = run_on(Cluster("start_detector"))
        await run.prepare()
        await run.start()
        return run

    run = asyncio.run(started())
    error = loads(run.pickled_error)
    assert isinstance(error, StalledError)
    assert error.stage == "start"
    assert "worker-0 to 'start_detector'; check the detector's state" in run.error


@pytest.mark.parametrize("silent", ["trigger", "release"])
def test_trouble_that_stops_nothing_is_noted_with_its_name(silent: str) -> None:
    async def over() -> Run:
        run = run_on(Cluster(silent))
        await run.prepare()
        await run.start()
        await run.trigger()
        await run.abort()
        assert await run.until(lambda: run.is_over and silent in run.error, 10)
        return run

    run = asyncio.run(over())
    assert f"{silent} stalled with no frame seen: it took longer than 0 s on worker-0" in run.error


def test_files_that_do_not_close_are_noted_with_their_worker() -> None:
    async def over() -> Run:
        run = run_on(Cluster("close"))
        await run.prepare()
        run.ready = b"something to close"
        await run.abort()
        assert await run.until(lambda: run.is_over, 10)
        return run

    run = asyncio.run(over())
    assert "closing stalled" in run.error
    assert "no answer from worker-0 to 'close'; check the disk" in run.error


def test_blocks_that_are_given_up_are_counted() -> None:
    async def over() -> Run:
        run = run_on(Cluster())
        await run.prepare()
        await run.start()
        await run.abort()
        assert await run.until(lambda: run.is_over, 10)
        return run

    run = asyncio.run(over())
    assert len(run.crew.tickets) > 0
    assert f"not come back within 0 s: {len(run.crew.tickets)}; check the tasks" in run.error
