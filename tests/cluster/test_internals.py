"""What limadask uses inside Dask, each use alone: these tests fail when Dask changes.

The rest of the engine is tested on real processes; here scheduler and worker are objects of this
process, so that one can look inside.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.request import urlopen

import dask
import numpy as np
import prometheus_client
import psutil
import pytest
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from dask.task_spec import Task
from dask.utils import key_split
from distributed import (
    Client,
    LocalCluster,
    Scheduler,
    SchedulerPlugin,
    SpecCluster,
    Status,
    Worker,
    get_worker,
)
from distributed.batched import BatchedSend
from distributed.comm import CommClosedError, connect
from distributed.comm.addressing import get_address_host
from distributed.deploy.spec import ProcessInterface
from distributed.protocol import to_serialize
from distributed.worker_state_machine import SecedeEvent
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from waiting import until

import limadask as ld
from limadask.cluster import pulse
from limadask.cluster import spans as spans_module
from limadask.cluster.pulse import is_frozen
from limadask.cluster.records import KEYS, SENT, forget_keys, shorten, streams_of
from limadask.cluster.spans import Spans, merge_digests
from limadask_detectors import Simulator
from limadask_tasks import Observe

BOUND = 10.0
OWNER = "pseudo-client"


@pytest.fixture(scope="module")
def inside() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def scheduler(inside: Client) -> Scheduler:
    return inside.cluster.scheduler


@pytest.fixture
def worker(inside: Client) -> Worker:
    return inside.cluster.workers[0]


def in_loop(client: Client, work: Callable[[], Any]) -> Any:
    """Do something in the event loop that scheduler and worker live in."""

    async def call() -> Any:
        return work()

    return client.sync(call)


class Heard:
    """Keeps what a handler was called with."""

    def __init__(self) -> None:
        self.event, self.message = threading.Event(), {}

    def __call__(self, **message: Any) -> None:
        self.message = message
        self.event.set()

    def wait(self) -> dict[str, Any]:
        assert self.event.wait(BOUND)
        return self.message


async def parked(name: str) -> str:
    worker = get_worker()
    event = SecedeEvent(key=name, compute_duration=0.0, stimulus_id="test-park")
    loop = asyncio.get_running_loop()
    loop.call_soon(worker.handle_stimulus, event, context=contextvars.Context())
    worker.extensions["test-gate"] = gate = asyncio.Event()
    worker.extensions["test-parked"].set()
    await gate.wait()
    return "came"


def test_a_parked_task_gives_its_thread_slot_back(inside: Client, worker: Worker) -> None:
    worker.extensions["test-parked"] = threading.Event()
    source = inside.submit(parked, "parked-task", key="parked-task")
    assert worker.extensions["test-parked"].wait(BOUND)
    assert worker.state.nthreads == 1
    assert inside.submit(abs, -3).result(timeout=BOUND) == 3  # on the only thread
    in_loop(inside, lambda: worker.extensions["test-gate"].set())
    assert source.result(timeout=BOUND) == "came"


async def leave_note(key: tuple[str, int]) -> None:
    get_worker().state.tasks[key].metadata["test-note"] = b"receipt"


class Watcher(SchedulerPlugin):
    """Keeps transitions of one key, and the keys of new graphs."""

    name = "test-watcher"

    def __init__(self) -> None:
        self.finished, self.forgotten = threading.Event(), threading.Event()
        self.metadata, self.keys = dict[str, Any](), set[Any]()

    def update_graph(self, scheduler: Scheduler, *, keys: set[Any], **kwargs: Any) -> None:
        assert isinstance(kwargs["stimulus_id"], str)
        self.keys |= keys
        scheduler.client_desires_keys([key for key in keys if key == ("noted-u", 0)], OWNER)

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if key == ("noted-u", 0) and finish == "memory":
            self.metadata = kwargs["metadata"]
            self.finished.set()
        if key == ("noted-u", 0) and finish == "forgotten":
            self.forgotten.set()


def test_receipts_travel_with_the_message_that_a_task_is_finished(
    inside: Client, scheduler: Scheduler, worker: Worker
) -> None:
    watcher, key = Watcher(), ("noted-u", 0)
    in_loop(inside, lambda: scheduler.add_plugin(watcher))
    layer = MaterializedLayer(
        {key: Task(key, leave_note, key)},
        annotations={"workers": [worker.address], "priority": lambda one: 7 - one[1]},
    )
    graph = HighLevelGraph({"a": layer}, {"a": set()})
    inside.get(graph, [key], sync=False, fifo_timeout=0)
    assert watcher.finished.wait(BOUND)
    assert watcher.keys == {key}
    assert watcher.metadata["test-note"] == b"receipt"
    # the client's future is dropped; the key stays until its adopter releases it
    assert in_loop(inside, lambda: scheduler.tasks[key].state) == "memory"
    assert in_loop(inside, lambda: scheduler.tasks[key].worker_restrictions) == {worker.address}
    assert in_loop(inside, lambda: scheduler.tasks[key].priority[0]) == -7
    in_loop(
        inside,
        lambda: scheduler.client_releases_keys([key], OWNER, stimulus_id="test-release"),
    )
    assert watcher.forgotten.wait(BOUND)  # as soon as the client has dropped it, too
    assert in_loop(inside, lambda: key in scheduler.tasks) is False
    assert OWNER in scheduler.clients
    in_loop(inside, lambda: scheduler.remove_plugin(watcher.name))


def test_a_pin_can_be_lifted(inside: Client, scheduler: Scheduler) -> None:
    pinned = inside.submit(abs, -5, workers=["tcp://127.0.0.1:1"], allow_other_workers=False)

    def lift() -> None:
        state = scheduler.tasks[pinned.key]
        assert state.state == "no-worker"
        state.worker_restrictions = None
        scheduler.transitions({pinned.key: "processing"}, stimulus_id="test-lift")

    inside.sync(reached, lambda: pinned.key in scheduler.tasks)
    in_loop(inside, lift)
    assert pinned.result(timeout=BOUND) == 5


async def reached(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():
            await asyncio.sleep(0.01)


def test_workers_and_scheduler_send_each_other_words(
    inside: Client, scheduler: Scheduler, worker: Worker
) -> None:
    up, down = Heard(), Heard()
    scheduler.stream_handlers["test-up"] = up
    worker.stream_handlers["test-down"] = down
    in_loop(inside, lambda: worker.batched_send({"op": "test-up", "number": 1}))
    assert up.wait() == {"number": 1, "worker": worker.address}
    in_loop(inside, lambda: scheduler.worker_send(worker.address, {"op": "test-down", "number": 2}))
    assert down.wait() == {"number": 2}


def test_handlers_answer_scheduler_and_clients(
    inside: Client, scheduler: Scheduler, worker: Worker
) -> None:
    async def double(number: int) -> int:
        return 2 * number

    scheduler.handlers["test_double"] = worker.handlers["test_double"] = double

    async def ask() -> int:
        return await scheduler.rpc(worker.address).test_double(number=2)

    assert inside.sync(ask) == 4
    assert inside.sync(inside.scheduler.test_double, number=3) == 6
    assert inside.sync(inside.rpc(worker.address).test_double, number=4) == 8
    assert inside.id in scheduler.clients


def test_events_of_a_topic_reach_its_subscribers(inside: Client, scheduler: Scheduler) -> None:
    told, heard = threading.Event(), list[Any]()

    def hear(stamped: tuple[float, Any]) -> None:
        heard.append(stamped[1])
        told.set()

    inside.subscribe_topic("test-topic", hear)
    inside.sync(reached, lambda: "test-topic" in scheduler._broker._topics)
    in_loop(inside, lambda: scheduler.log_event("test-topic", {"uuid": "u"}))
    assert told.wait(BOUND)
    assert heard == [{"uuid": "u"}]
    inside.unsubscribe_topic("test-topic")


def test_workers_are_listed_and_can_be_removed(inside: Client, scheduler: Scheduler) -> None:
    async def add_and_remove() -> None:
        async with Worker(
            scheduler.address,
            name="spare",
            nthreads=3,
            memory_limit=1 << 30,
            resources={"receiver": 1},
        ) as one:
            await reached(lambda: any(known.name == "spare" for known in scheduler.running))
            (state,) = (known for known in scheduler.running if known.name == "spare")
            told = (state.address, state.nthreads, state.memory_limit, state.host)
            assert told == (one.address, 3, 1 << 30, get_address_host(one.address))
            assert state.resources == {"receiver": 1}
            await scheduler.remove_worker(one.address, stimulus_id="test-stale")
            assert one.address not in scheduler.workers

    inside.sync(add_and_remove)


def test_workers_ask_each_other_and_send_objects(inside: Client, scheduler: Scheduler) -> None:
    block = np.arange(1 << 20, dtype=np.uint16)

    async def answer(number: int) -> dict[str, Any]:
        return {"result": to_serialize((number, block))}

    async def ask() -> Any:
        tcp = {"protocol": "tcp://", "host": "127.0.0.1", "nthreads": 1}
        async with (
            Worker(scheduler.address, name="asks", **tcp) as asking,
            Worker(scheduler.address, name="answers", **tcp) as answering,
        ):
            answering.handlers["test_answer"] = answer
            return await asking.rpc(answering.address).test_answer(number=3)

    number, received = inside.sync(ask)["result"]
    assert number == 3
    assert np.array_equal(received, block)


def test_a_worker_tells_its_memory_limit(worker: Worker) -> None:
    limit = worker.memory_manager.memory_limit
    assert limit is None or limit > 0


def test_a_worker_that_cannot_be_reached_is_an_os_error(inside: Client) -> None:
    assert issubclass(CommClosedError, OSError)

    async def reach() -> None:
        await connect("tcp://127.0.0.1:1", timeout=0.2)

    with pytest.raises(OSError, match="Timed out"):
        inside.sync(reach)


def test_a_cluster_is_made_of_unlike_workers_and_closes_them() -> None:
    workers = {
        name: {"cls": Worker, "options": {"nthreads": threads, "resources": {name: 1}}}
        for name, threads in {"receiver": 2, "processing": 1}.items()
    }
    listen = {"host": "127.0.0.1", "port": 0, "dashboard_address": ":0"}
    with SpecCluster(workers, {"cls": Scheduler, "options": listen}) as cluster:
        states = cluster.scheduler.workers.values()
        assert {one.name: (one.nthreads, dict(one.resources)) for one in states} == {
            "receiver": (2, {"receiver": 1}),
            "processing": (1, {"processing": 1}),
        }

    async def closed() -> Status:
        one = ProcessInterface()
        await one
        await one.close()
        return one.status

    assert asyncio.run(closed()) == Status.closed


def test_a_process_that_is_stopped_is_told_from_one_that_runs_and_one_that_is_elsewhere() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        known = child.pid, psutil.Process(child.pid).create_time()
        assert is_frozen(known) is False
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert is_frozen(known) is True
        assert is_frozen((child.pid, known[1] - 60)) is None  # another one had this number
    finally:
        child.kill()
        child.communicate()
    assert is_frozen(known) is None


def test_a_nanny_tells_of_its_worker_alone_on_its_computer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "is_frozen", lambda _: None)  # from elsewhere it cannot be seen
    with (
        dask.config.set({"limadask.worker-stale-after": 300.0}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        pipe = ld.Pipeline()
        pipe.add("live", Observe())
        acquisition = ld.Acquisition(
            client, Simulator(shape=(16, 16)), pipe, nb_frames=0, expo_time=0.01
        )
        with acquisition:
            acquisition.prepare()
            acquisition.start()
            until(lambda: acquisition.statistics()["received"])  # a sign of life has come
            number = client.run(os.getpid).popitem()[1]
            os.kill(number, signal.SIGSTOP)
            try:
                with pytest.raises(ld.AcquisitionFailed, match="no worker that processes is left"):
                    acquisition.wait(timeout=BOUND)
            finally:
                os.kill(number, signal.SIGKILL)


def test_dask_counts_what_a_compressed_sparse_array_holds(inside: Client) -> None:
    import sparse

    array = sparse.GCXS.from_numpy(np.ones((4, 50, 50)), compressed_axes=(0,))
    held = array.data.nbytes + array.indices.nbytes + array.indptr.nbytes
    assert held <= dask.sizeof.sizeof(array) <= held + 1000


def test_a_stream_remembers_what_it_has_sent_and_can_be_told_to_forget(
    inside: Client, scheduler: Scheduler, worker: Worker
) -> None:
    streams = [worker.batched_stream, *streams_of(scheduler, inside)]
    assert len(streams) >= 4  # to the worker, to the client, and back from both
    for stream in streams:
        assert isinstance(stream.recent_message_log, deque)
    fresh = BatchedSend(interval="1ms", loop=None)
    assert fresh.recent_message_log.maxlen == 1000  # else nothing has to be cut short any more
    shorten([fresh])
    assert fresh.recent_message_log.maxlen == SENT
    in_loop(inside, lambda: shorten(streams))
    for number in range(2 * SENT):
        inside.submit(abs, number).result(timeout=BOUND)
    assert {len(stream.recent_message_log) for stream in streams} == {SENT}


def test_dask_remembers_names_of_tasks_and_can_be_told_to_forget() -> None:
    for number in range(KEYS + 1):
        key_split((f"name-{number}", number))
    assert key_split.cache_info().currsize > KEYS
    forget_keys()
    assert key_split.cache_info().currsize == 0
    assert key_split(("name-1", 1)) == "name"


def _burst(client: Client, name: str, uuid: str) -> None:
    """Run a few tasks, and wait until Dask has forgotten them."""
    done = [client.submit(abs, one, key=(f"{name}-{uuid}", one), pure=False) for one in (1, 2)]
    assert [one.result(timeout=BOUND) for one in done] == [1, 2]
    del done[:]
    _forgotten(client, f"{name}-{uuid}")


def _forgotten(client: Client, group: str) -> None:
    known = client.cluster.scheduler.task_groups
    client.sync(reached, lambda: group not in known)


def test_spans_of_bursts_are_kept_for_ever_and_can_be_forgotten(
    inside: Client, scheduler: Scheduler, worker: Worker
) -> None:
    extension, mine, other = scheduler.extensions["spans"], f"{1:032x}", f"{2:032x}"
    defaults = extension.spans_search_by_name["default",]
    before, forgetting = set(extension.spans), Spans(scheduler)
    for uuid in (mine, other, mine):
        _burst(inside, "label", uuid)
    made = set(extension.spans) - before
    assert len(made) == 3  # else nothing has to be forgotten any more
    inside.sync(worker.heartbeat)
    in_loop(inside, lambda: forgetting.forget({mine}))
    names = [extension.spans[one].id for one in made]
    assert names.count(spans_module.NAME) == 2
    (kept,) = (one for one in defaults if one.id in made)
    assert [group.name for group in kept.groups] == [f"label-{other}"]
    assert kept in extension.root_spans
    _burst(inside, "label", mine)  # and Dask goes on
    inside.sync(worker.heartbeat)
    forgetting._over = dict.fromkeys(forgetting._over, -spans_module.LATE)
    in_loop(inside, lambda: forgetting.forget(()))
    assert len(set(extension.spans) & made) == 1


def test_spans_whose_tasks_are_known_stay(inside: Client, scheduler: Scheduler) -> None:
    uuid = f"{3:032x}"
    held = inside.submit(abs, 1, key=(f"label-{uuid}", 1), pure=False)
    assert held.result(timeout=BOUND) == 1
    forgetting = Spans(scheduler)
    in_loop(inside, lambda: forgetting.forget({uuid}))
    assert not forgetting._over
    held.release()
    _forgotten(inside, f"label-{uuid}")
    in_loop(inside, lambda: forgetting.forget({uuid}))
    assert len(forgetting._over) == 1


def test_a_workers_metrics_of_spans_can_become_one(
    inside: Client, scheduler: Scheduler, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "DIGESTS", 0)
    for number in range(3):
        _burst(inside, "counted", f"{number:032x}")
    totals = worker.digests_total
    keys = [key for key in totals if key[0] == "execute" and key[2] == "counted"]
    assert len({key[1] for key in keys}) == 3
    whole = sum(totals[key] for key in keys)
    in_loop(inside, lambda: merge_digests(worker, {"counted"}))
    assert not [key for key in keys if key in totals or key in worker.digests_max]
    merged = [key for key in totals if key[1:3] == (spans_module.NAME, "counted")]
    assert len(merged) == len({key[3:] for key in keys})
    assert sum(totals[key] for key in merged) == pytest.approx(whole)


class Counting:
    """A collector as Prometheus has them."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("test_of_ours", "Ours.", value=1 / 8)


@pytest.mark.parametrize("where", ["scheduler", "worker"])
def test_metrics_of_ours_are_served_beside_those_of_dask(
    inside: Client, where: str, request: pytest.FixtureRequest
) -> None:
    ours, port = Counting(), request.getfixturevalue(where).http_server.port
    prometheus_client.REGISTRY.register(ours)
    try:
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=BOUND) as page:
            rows = page.read().decode().splitlines()
    finally:
        prometheus_client.REGISTRY.unregister(ours)
    assert "test_of_ours 0.125" in rows
    assert any(row.startswith(f"dask_{where}_") for row in rows)


def test_a_worker_knows_its_memory_limit_and_its_name(worker: Worker) -> None:
    assert worker.memory_manager.memory_limit > 0
    assert str(worker.name) == "0"
