"""Waits for who does not answer: each has a bound, and its error says who, what and where."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from distributed import Client
from waiting import until

import limadask as ld
from limadask.cluster import asking, installing
from limadask.cluster.link import Link
from limadask.cluster.local import ProcessCluster, process_cluster
from limadask_detectors import Simulator
from limadask_tasks import Observe

CAMERA = Simulator(shape=(64, 48))
BOUND = 60.0
"""Seconds after which something counts as waiting for ever; far more than any bound in here."""


class Slow(Simulator):
    """Takes its time to prepare."""

    seconds: float

    def prepare(self, hardware: Any, endpoints: Any) -> Any:
        time.sleep(self.seconds)
        return super().prepare(hardware, endpoints)


def raised(call: Callable[[], object]) -> BaseException:
    """What a call raises, within the bound."""
    errors: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(BOUND)
    assert not thread.is_alive(), "it waits for ever"
    assert errors, "nothing was raised"
    return errors[0]


def stalled(call: Callable[[], object]) -> ld.StalledError:
    error = raised(call)
    assert isinstance(error, ld.StalledError), error
    return error


def acquisition_of(client: Client, workers: int = 1, **fields: Any) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("live", Observe())
    fields = {"nb_frames": 20, "expo_time": 1e-3, **fields}
    topology = ld.Topology(workers=workers)
    return ld.Acquisition(client, fields.pop("camera", CAMERA), pipe, topology=topology, **fields)


def acquired(acquisition: ld.Acquisition) -> ld.Acquisition:
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=BOUND)
    return acquisition


def address_of(client: Client, name: str) -> str:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return next(address for address, told in workers.items() if told["name"] == name)


def test_no_command_waits_for_ever_for_a_frozen_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER", 2.0)
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        over, prepared = acquired(acquisition_of(client)), acquisition_of(client)
        idle = acquisition_of(client)
        idle.create()
        prepared.prepare()
        cluster.scheduler.send_signal(signal.SIGSTOP)
        for command in ("start", "trigger", "stop", "abort"):
            error = stalled(getattr(prepared, command))
            assert error.stage == "scheduler"
            for told in (cluster.address, f"'{command}' within 2 s", "check its process"):
                assert told in str(error)
        assert "no frame seen" in str(error)
        assert "'prepare'" in str(stalled(lambda: idle._command("prepare")))
        assert stalled(lambda: prepared.__exit__(None, None, None)).stage == "scheduler"
        assert stalled(over.abort).last_frame == 19
        cluster.scheduler.send_signal(signal.SIGCONT)


def test_a_detector_that_takes_its_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER", 2.0)
    monkeypatch.setattr(asking, "LOOK", 0.1)
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        Link.of(client)
        camera = Slow(shape=(64, 48), seconds=3 * asking.ANSWER)
        assert acquired(acquisition_of(client, camera=camera)).state[1] == "processed"


def test_a_look_at_a_frozen_worker_ends_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER", 2.0)
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        live = acquired(acquisition_of(client)).observe["live"]
        assert live.latest().frame == 19
        cluster.send("worker-0", signal.SIGSTOP)
        error = stalled(live.latest)
        assert (error.stage, error.last_frame) == ("worker", 19)
        assert address_of(client, "worker-0") in str(error)
        cluster.send("worker-0", signal.SIGCONT)
        assert live.latest().frame == 19


def test_installing_names_the_worker_that_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    def known() -> None:
        import limadask.cluster.worker  # noqa: F401 - it takes some seconds

    monkeypatch.setattr(installing, "INSTALL", 4.0)
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        client.run_on_scheduler(known)
        client.run(known)
        cluster.send("worker-1", signal.SIGSTOP)
        error = stalled(acquisition_of(client).prepare)
        assert error.stage == "installing limadask"
        assert "worker-1" in str(error)
        cluster.send("worker-1", signal.SIGCONT)
        assert acquired(acquisition_of(client, workers=2)).state[1] == "processed"


def expected(dask_scheduler: Any) -> int:
    """How many workers are expected to give signs of life."""
    return len(dask_scheduler.plugins["limadask"]._pulses._last)


def freeze_known(cluster: ProcessCluster, client: Client) -> None:
    acquired(acquisition_of(client, workers=2))
    until(lambda: not client.run_on_scheduler(expected))
    cluster.send("worker-1", signal.SIGSTOP)


def processes(dask_scheduler: Any, forgotten: bool = False) -> int:
    """Of how many workers the process is known."""
    known = dask_scheduler.plugins["limadask"]._pulses._processes
    if forgotten:
        known.clear()
    return len(known)


def freeze_unused(cluster: ProcessCluster, client: Client) -> None:
    Link.of(client)
    until(lambda: client.run_on_scheduler(processes) == 2)
    cluster.send("worker-1", signal.SIGSTOP)


def freeze_new(cluster: ProcessCluster, client: Client) -> None:
    freeze_unused(cluster, client)
    client.run_on_scheduler(processes, forgotten=True)  # as if it had been frozen before it spoke


@pytest.mark.parametrize(
    ("freeze", "stale_after"),
    [(freeze_known, 600.0), (freeze_unused, 600.0), (freeze_new, 1.0)],
)
def test_preparing_finds_a_frozen_worker_and_names_it(
    freeze: Callable[[ProcessCluster, Client], None], stale_after: float
) -> None:
    settings = {"limadask.worker-stale-after": stale_after}  # only a frozen process counts, or all
    with process_cluster(2, settings=settings) as cluster, Client(cluster.address) as client:
        freeze(cluster, client)
        acquisition = acquisition_of(client, workers=2)
        error = raised(acquisition.prepare)
        assert isinstance(error, ld.AcquisitionFailed)
        for told in ("greeting the workers", "worker-1 gives no sign of life", "check"):
            assert told in str(error)
        assert acquisition.state == ("failed", "failed")
        assert acquired(acquisition_of(client)).state[1] == "processed"  # by the other worker
