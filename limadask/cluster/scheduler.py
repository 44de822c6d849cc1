"""limadask in Dask's scheduler: a plugin that owns the tickets and hosts the coordinator."""

from __future__ import annotations

import asyncio
import logging
import pickle
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from math import inf
from typing import Any

from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import Client, Scheduler, SchedulerPlugin
from distributed.comm import CommClosedError

from limadask.cluster.graph import ticket_tasks
from limadask.cluster.overview import Overview
from limadask.cluster.pulse import LOOK, Pulses
from limadask.cluster.records import forget_keys, shorten, streams_of
from limadask.cluster.settings import freeze_objects
from limadask.cluster.spans import Spans
from limadask.cluster.tickets import ASSEMBLE, receive_keys, ticket_key
from limadask.engine.coordinator import Coordinator
from limadask.engine.messages import dumps
from limadask.engine.port import Nodes, Ticket, WorkerError, WorkerInfo
from limadask.engine.roles import roles_of
from limadask.engine.run import Run
from limadask.engine.standing import standing
from limadask.errors import LimadaskError
from limadask.events import Event
from limadask.memory import Level
from limadask.timeseries import Parcel
from limadask.timeseries.value import Value

logger = logging.getLogger(__name__)
TOPIC = "limadask"
"""The one event topic of all runs."""
Key = tuple[str, int]


class LimadaskScheduler(SchedulerPlugin):  # type: ignore[misc]
    """Owns the tickets of all runs, so that these need no client, and is their port to Dask."""

    name = "limadask"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Install handlers."""
        freeze_objects()
        self._scheduler = scheduler
        self._client: Client | None = None
        self._loop = asyncio.get_running_loop()
        self._coordinator = Coordinator(self)
        self._keys: dict[Key, tuple[str, Ticket]] = {}
        self._finished: dict[Key, dict[str, Any] | None] = {}
        self._pulses, self._spans = Pulses(scheduler), Spans(scheduler)
        self._can_forget = True
        self._overview = Overview(scheduler, self._coordinator)
        self._owners: dict[str, str] = {}
        self._batches: dict[str, set[str]] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        scheduler.handlers.update(
            {
                f"limadask_{name}": getattr(self, f"_{name}")
                for name in (
                    "create", "command", "status", "ledger", "products", "notes", "reserve",
                    "ready", "runs", "queue", "batch", "record", "series", "silent",
                )
            }
        )  # fmt: skip
        scheduler.stream_handlers["limadask-beat"] = self._pulses.beat
        scheduler.stream_handlers["limadask-tick"] = self._tick
        scheduler.stream_handlers["limadask-receiver-ended"] = self._receiver_ended
        scheduler.extensions["limadask"] = self
        self.spawn(self._watch())

    async def close(self) -> None:
        """End what runs beside the scheduler."""
        self._overview.close()
        for job in self._jobs:
            job.cancel()
        if self._client is not None:
            await self._client.close()

    # ---- the port -----------------------------------------------------------------------------

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that run, the least busy first."""
        busy = self._coordinator.busy()
        states = sorted(
            self._scheduler.running, key=lambda one: (one.address in busy, str(one.name))
        )
        hosts = Counter(one.host for one in states)
        return [
            WorkerInfo(
                one.address,
                str(one.name),
                one.nthreads,
                hosts[one.host],
                roles_of(str(one.name), one.resources),
            )
            for one in states
        ]

    async def call(self, worker: str, operation: str, uuid: str, **message: Any) -> Any:
        """Ask a worker for something."""
        if worker not in self._scheduler.workers:
            raise CommClosedError(f"no worker {worker}")
        answer = await getattr(self._scheduler.rpc(worker), operation)(uuid=uuid, **message)
        if "error" in answer:
            raise WorkerError(answer["error"], answer["pickled"])
        return answer["result"]

    def send(self, worker: str, operation: str, uuid: str, **message: Any) -> None:
        """Tell a worker something; one that is gone needs it no more."""
        if worker in self._scheduler.workers:
            self._scheduler.worker_send(worker, {"op": operation, "uuid": uuid, **message})

    def submit(
        self, uuid: str, label: str, rank: int, tickets: Sequence[Ticket], nodes: Nodes
    ) -> None:
        """Hand tickets out as tasks: later acquisitions first, then by number."""
        self.spawn(self._submit(uuid, label, rank, tickets, nodes))

    def publish(self, event: Event) -> None:
        """Tell all clients."""
        self._scheduler.log_event(TOPIC, event.to_message())

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run something beside the rest; what it raises is logged."""
        task = self._loop.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._job_done)

    # ---- tasks --------------------------------------------------------------------------------

    async def _submit(
        self, uuid: str, label: str, rank: int, tickets: Sequence[Ticket], nodes: Nodes
    ) -> None:
        if self._client is None:
            self._client = await Client(
                self._scheduler.address,
                asynchronous=True,
                set_as_default=False,
                security=self._scheduler.security,
            )
        for ticket in tickets:
            self._keys[ticket_key(label, uuid, ticket.number)] = uuid, ticket

        def priority(key: Key, rank: int = rank) -> int:
            return rank * 1_000_000_000 - key[1]

        tasks = ticket_tasks(uuid, label, tickets, nodes)
        layers = {
            name: MaterializedLayer(group, annotations={"workers": [name], "priority": priority})
            for name, group in tasks.items()
        }
        depends = {name: set(layers) - {name} for name in layers}
        keys = [ticket_key(label, uuid, ticket.number) for ticket in tickets]
        # the futures are dropped at once: update_graph adopts the keys before their release comes
        self._client.get(HighLevelGraph(layers, depends), keys, sync=False, fifo_timeout=0)

    def update_graph(
        self, scheduler: Scheduler, *, keys: set[Any], stimulus_id: str, **kwargs: Any
    ) -> None:
        """Adopt the tickets among new keys; lift the pins of those that came too late."""
        mine = [key for key in keys if key in self._keys]
        if not mine:
            return
        scheduler.client_desires_keys(mine, self.name)
        wanted = {
            worker
            for key in mine
            for worker in (*self._keys[key][1].sources, self._keys[key][1].processor)
        }
        for worker in wanted - set(scheduler.workers):
            self._lift_pins(worker, stimulus_id)

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Take the receipt of a finished ticket, and release its key: nothing is recomputed."""
        if finish in ("memory", "erred") and key in self._keys:
            receipt = (kwargs.get("metadata") or {}).get("limadask")
            self._finish([key], {key: pickle.loads(receipt)} if receipt else {})  # noqa: S301

    def remove_worker(
        self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any
    ) -> None:
        """Let a lost worker's tickets run anywhere, where they end as absent."""
        self._pulses.forget(worker)
        self._lift_pins(worker, stimulus_id)
        self._coordinator.worker_lost(worker)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Abort what a client had prepared and can start no more."""
        for uuid, owner in list(self._owners.items()):
            if owner != client:
                continue
            run = self._coordinator.runs.get(uuid)
            if run is not None and run.detector.current in ("preparing", "prepared"):
                self.spawn(run.abort())
            del self._owners[uuid]
        for batch in self._batches.pop(client, set()) & set(self._coordinator.batches):
            self._coordinator.find_batch(batch).close()

    def _lift_pins(self, worker: str, stimulus_id: str) -> None:
        tasks, moves = self._scheduler.tasks, {}
        gone: list[Key] = []
        for key, (uuid, ticket) in self._keys.items():
            sources = receive_keys(uuid, ticket)
            pinned = [sources[worker]] if worker in sources else []
            if ticket.processor == worker:
                pinned += [key, ticket_key(ASSEMBLE, uuid, ticket.number)]
            is_needed = ticket.receiver != worker or ticket.others
            for one in pinned:
                state = tasks.get(one)  # not there: still on its way, see update_graph
                if state is None:
                    continue
                moves_on = is_needed and one not in sources.values()
                state.worker_restrictions = self._others(uuid) if moves_on else None
                if state.state == "no-worker":
                    moves[one] = "processing"
                gone.append(key)
        if self._scheduler.workers:
            self._scheduler.transitions(moves, stimulus_id=stimulus_id)
        else:  # no task will ever run: the ledger is told here
            self._finish(gone, {})

    def _others(self, uuid: str) -> set[str] | None:
        """Return the workers that process a run and live; None if there is none left."""
        run = self._coordinator.runs.get(uuid)
        processors = {one.address for one in run.crew.processors} if run else set()
        return processors & set(self._scheduler.workers) or None

    def _finish(self, keys: list[Key], receipts: Mapping[Key, dict[str, Any]]) -> None:
        """Account for tickets and release their keys: in batches, outside the transition."""
        if not self._finished:
            self._loop.call_soon(self._account)
        for key in keys:
            self._finished.setdefault(key, receipts.get(key))

    def _account(self) -> None:
        finished, self._finished = self._finished, {}
        for key, receipt in finished.items():
            uuid, ticket = self._keys.pop(key)
            run = self._coordinator.runs.get(uuid)
            if run is not None:
                # a ticket that raised, or came back without a receipt, ends all the same
                run.receipt(ticket.number, receipt or {"ending": "absent"})
        # right after the acknowledgements, so that both travel in one message
        if self.name in self._scheduler.clients:
            stimulus_id = f"limadask-release-{time.time()}"
            keys = list(finished)
            self._scheduler.client_releases_keys(keys, self.name, stimulus_id=stimulus_id)

    # ---- what workers tell ----------------------------------------------------------------------

    def _tick(
        self,
        uuid: str,
        progress: dict[str, Any],
        process: Sequence[Any],
        worker: str,
        parcels: Sequence[Parcel] = (),
        pressure: tuple[Level, float] = ("ok", inf),
    ) -> None:
        self._pulses.beat(worker, process)
        run = self._coordinator.runs.get(uuid)
        if run is None:
            return
        run.recording.take_all(parcels)
        if progress and not run.is_over:
            run.tick(worker, progress)
        run.pressures.take(worker, *pressure)

    def _receiver_ended(self, uuid: str, progress: dict[str, Any], error: str, worker: str) -> None:
        if run := self._coordinator.runs.get(uuid):
            run.receiver_ended(worker, progress, error)

    async def _watch(self) -> None:
        """Treat a frozen worker as dead: Dask itself would wait for five minutes."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK)
            now = time.monotonic()
            self._coordinator.look(now)
            busy, preparing = self._coordinator.busy(), self._coordinator.preparing()
            await self._pulses.look(busy, now - before - LOOK, preparing)
            if self._can_forget:
                self._forget()

    def _forget(self) -> None:
        """Let Dask forget what it would remember for ever; trouble with that must end no watch."""
        try:
            shorten(streams_of(self._scheduler, self._client))
            forget_keys()
            self._spans.forget(self._coordinator.runs)
        except Exception:  # once: the next look would find the same
            self._can_forget = False
            logger.exception("Dask's records cannot be cut short: the scheduler's memory grows")

    # ---- what clients ask -----------------------------------------------------------------------

    async def _create(
        self, uuid: str, request: bytes, options: dict[str, Any], client: str
    ) -> dict[str, Any]:
        try:
            self._coordinator.create(uuid, request, options)
        except LimadaskError as error:
            return {"error": dumps(error)}
        known = self._coordinator.runs
        self._owners = {one: owner for one, owner in self._owners.items() if one in known}
        self._owners[uuid] = client
        return {}

    async def _queue(self, batch: str, uuids: list[str], client: str) -> dict[str, Any]:
        """Let acquisitions follow those of a batch, which lives on when the client is gone."""
        try:
            for uuid in uuids:
                self._coordinator.queue(batch, uuid)
                self._owners.pop(uuid, None)
        except LimadaskError as error:
            return {"error": dumps(error)}
        known = self._coordinator.batches
        self._batches[client] = {batch, *self._batches.get(client, ())} & set(known)
        return {}

    async def _batch(self, batch: str, command: str | None = None) -> dict[str, Any]:
        """Do what a user asks of a batch, if anything; return where its runs stand then."""
        try:
            found = self._coordinator.find_batch(batch)
        except LimadaskError as error:
            return {"error": dumps(error)}
        if command is not None:
            done = getattr(found, command)()
            if done is not None:
                await done
        return {"runs": found.status(), "is_over": found.is_over}

    async def _command(self, uuid: str, command: str) -> dict[str, Any]:
        """Do what a user asks of a run; return where it stands then."""
        try:
            run = self._coordinator.find(uuid)
            await getattr(run, command)()
        except LimadaskError as error:
            return {"error": dumps(error)}
        return self._told(run)

    def _told(self, run: Run) -> dict[str, Any]:
        return {"status": standing(run), "pickled": run.pickled_error}

    async def _status(self, uuid: str) -> dict[str, Any]:
        try:
            return self._told(self._coordinator.find(uuid))
        except LimadaskError as error:
            return {"error": dumps(error)}

    async def _ready(self, uuid: str) -> dict[str, Any]:
        run = self._coordinator.find(uuid)
        names = {
            "receivers": [one.name for one in run.crew.receivers],
            "processors": [one.name for one in run.crew.processors],
        }
        addresses = [one.address for one in run.crew.processors]
        known = {"names": names, "processors": addresses, "settings": run.settings}
        return {"ready": run.ready, **known}

    async def _ledger(self, uuid: str) -> dict[str, Any]:
        return self._coordinator.find(uuid).account.ledger.dump()

    async def _products(self, uuid: str, node: str, start: int) -> list[bytes]:
        return self._coordinator.find(uuid).account.products.get(node, [])[start:]

    async def _notes(self, uuid: str, node: str, start: int) -> list[tuple[str, Any]]:
        return self._coordinator.find(uuid).account.notes.get(node, [])[start:]

    async def _record(
        self,
        uuid: str,
        parcel: Parcel | None = None,
        note: tuple[str, int, Value, str] | None = None,
    ) -> dict[str, Any]:
        """Take values that a client sends, or what a user notes; tell whether it is too late."""
        try:
            run = self._coordinator.find(uuid)
            if parcel is not None and not run.is_over:
                run.recording.take(parcel)
            if note is not None and not run.is_over:
                run.recording.note(*note)
        except LimadaskError as error:
            return {"error": dumps(error)}
        return {"is_over": run.is_over}

    async def _series(self, uuid: str, name: str | None = None) -> dict[str, Any]:
        """Return the names of a run's series, or one of them."""
        recording = self._coordinator.find(uuid).recording
        return {"names": recording.names, "series": recording.dump(name) if name else {}}

    async def _reserve(self, uuid: str, node: str, worker: str, number: int) -> bool:
        """Keep a held block for a client that will take it; False if it is gone."""
        try:
            answer = await self.call(worker, "limadask_reserve", uuid, node=node, number=number)
        except OSError:
            return False  # its worker is gone, and the block with it
        return bool(answer)

    async def _runs(self) -> list[str]:
        return list(self._coordinator.runs)

    async def _silent(self, seconds: float) -> list[str]:
        """Return the names of the workers that Dask has not heard of for some seconds."""
        since = time.time() - seconds
        return [str(one.name) for one in self._scheduler.workers.values() if one.last_seen < since]

    def _job_done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if not job.cancelled() and (error := job.exception()):
            logger.error("a job of the coordinator failed", exc_info=error)
