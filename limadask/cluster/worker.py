"""limadask on a Dask worker: a plugin that hosts one station for each acquisition."""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any

from distributed import Worker, WorkerPlugin
from distributed.comm.addressing import get_address_host
from tornado.ioloop import PeriodicCallback

from limadask.cluster import sizes as _sizes  # noqa: F401 - Dask asks what it has registered
from limadask.cluster.answers import answer_of
from limadask.cluster.equipment import Equipment
from limadask.cluster.lasting import Lasting
from limadask.cluster.leaving import leave
from limadask.cluster.nanny import look
from limadask.cluster.parking import park
from limadask.cluster.process_memory import ProcessMemory
from limadask.cluster.pulse import own_process
from limadask.cluster.records import shorten, tidy
from limadask.cluster.resources import Resources
from limadask.cluster.settings import release_memory, tune_process, tune_thread
from limadask.cluster.spans import merge_digests
from limadask.cluster.tickets import ASSEMBLE, BEGIN, receive_label, ticket_key
from limadask.cluster.transfer import Transfers
from limadask.cluster.walks import Walks
from limadask.engine.blocks import Answer, Blocks, Ending
from limadask.engine.credits import lent_blocks
from limadask.engine.feedback import Feedback
from limadask.engine.holding import Deferral, HeldBlocks
from limadask.engine.matched import MatchedBlocks
from limadask.engine.messages import dumps, loads, prepared_message
from limadask.engine.priority import PriorityPool
from limadask.engine.signs import sign
from limadask.engine.station import Station
from limadask.frames import Frames
from limadask.memory import BUDGET
from limadask.memory.janitor import clean

logger = logging.getLogger(__name__)
TICK = 0.25
"""Seconds between the signs of life that a worker gives while it takes part in a run."""


class LimadaskWorker(WorkerPlugin):  # type: ignore[misc]
    """Receives and processes on a worker; all state is touched by its event loop alone."""

    name = "limadask"
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Install handlers, threads and settings."""
        clean()
        shorten([worker.batched_stream])
        self.address: str = worker.address
        self._worker, self._loop = worker, worker.loop.asyncio_loop
        self._greeted: set[str] = set()
        self._stations: dict[str, Station] = {}
        self._ranks: dict[str, int] = {}
        self._labels: dict[str, str] = {}
        self._prefixes: set[str] = set()
        self.lasting, self._memory = Lasting(), ProcessMemory(worker)
        self.settings, self._process_identity = tune_process(worker.state.nthreads), own_process()
        self.transfers = Transfers(worker, self._blocks)
        self._pool = PriorityPool(worker.state.nthreads, tune_thread)
        self._walks = Walks(self._pool)
        self._equipment = Equipment(worker, self.transfers, self._pool, self._memory)
        self.resources = Resources(worker, self._pool, self._stations)
        worker.extensions["limadask"] = self
        worker.handlers.update(
            {
                f"limadask_{name}": getattr(self, f"_{name}")
                for name in (
                    "greet", "open", "prepare", "check", "setup", "start", "start_detector",
                    "trigger", "pause", "stop", "give_back", "close", "found", "join", "release",
                )
            }
        )  # fmt: skip
        worker.handlers["limadask_pull"] = self.lasting.pull
        worker.handlers["limadask_reserve"] = self.lasting.reserve
        worker.handlers["limadask_look"] = look
        worker.handlers["limadask_open_shared"] = self.transfers.open_shared
        worker.handlers["limadask_send_block"] = self.transfers.send
        worker.stream_handlers.update(
            {
                "limadask-acknowledge": self._acknowledge,
                "limadask-drop": self._drop,
                "limadask-poll": self._poll,
                "limadask-pass": self._pass,
                "limadask-process": self._process_held,
            }
        )
        # at once: a first run may be over before its first tick
        worker.batched_send({"op": "limadask-beat", "process": self._process_identity})
        self._ticking = PeriodicCallback(self._tick, TICK * 1000)
        self._ticking.start()

    async def teardown(self, worker: Worker) -> None:
        """Process what is held, without Dask, and close the files; then end the threads."""
        self._ticking.stop()
        BUDGET.bound(self.address, None)
        self.resources.close()
        await leave(list(self._stations.values()), self._pool)
        self._stations.clear()

    # ---- tickets ------------------------------------------------------------------------------

    async def block(self, uuid: str, ticket: int, receiver: str, processor: str) -> Answer:
        """Return the block of a ticket, parked without a thread until it comes."""
        station = self._stations.get(uuid)
        if receiver != self.address or station is None or station.blocks is None:
            return Ending.ABSENT  # the pin was lifted: its receiver is gone
        answer = station.blocks.get(ticket, processor)
        waits = isinstance(answer, asyncio.Future)
        fused = processor == self.address and station.request.fuse and station.part is None
        if waits or fused:
            label = self._labels[uuid] if fused else receive_label(station.part)
            park(self._worker, ticket_key(label, uuid, ticket))
        found = await asyncio.shield(answer) if isinstance(answer, asyncio.Future) else answer
        if isinstance(found, Frames):
            found.handed = time.time()
        return found

    async def process(self, uuid: str, ticket: int, answer: Answer) -> None:
        """Take a block through the pipeline and leave its receipt."""
        station = self._stations.get(uuid)
        receipt: dict[str, Any]
        if isinstance(answer, Ending):
            receipt = {"ending": answer.value}
        elif station is None or station.processing is None:
            receipt = {"ending": Ending.ABSENT.value}
        else:
            work = functools.partial(station.processing.process, answer, time.time())
            receipt = await self._pool.run(self._rank(uuid, ticket), work)
        self._leave_receipt(uuid, ticket, receipt)

    async def process_moved(self, uuid: str, ticket: int, answer: Answer) -> None:
        """Take a block through the pipeline that another worker has received."""
        if uuid in self._labels:  # our own threads have an order: all blocks are to stand in it
            park(self._worker, ticket_key(self._labels[uuid], uuid, ticket))
        await self.process(uuid, ticket, answer)

    async def assemble(self, uuid: str, ticket: int, parts: Sequence[Answer]) -> Answer:
        """Put together the parts of a block."""
        station = self._stations.get(uuid)
        if station is None or station.processing is None:
            return Ending.ABSENT
        assemble = functools.partial(station.processing.assemble, parts)
        answer: Answer = await self._pool.run(self._rank(uuid, ticket), assemble)
        return answer

    def begin(self, uuid: str, ticket: int, answer: Answer) -> None:
        """Begin to take a block through the pipeline node by node."""
        station = self._stations.get(uuid)
        if isinstance(answer, Ending):
            self._walks.end(uuid, ticket, answer)
        elif station is not None and station.processing is not None:
            rank = self._rank(uuid, ticket)
            self._walks.begin(uuid, ticket, station.processing.walk, answer, rank)

    def _rank(self, uuid: str, ticket: int) -> tuple[int, int]:
        """Return a block's place in the order of the threads: its run's, then its own."""
        return -self._ranks[uuid], ticket

    async def pass_node(self, uuid: str, ticket: int, label: str) -> None:
        """Take a block through one node, as far as it is here."""
        await self._walks.step(uuid, ticket, label)

    async def conclude(self, uuid: str, ticket: int) -> None:
        """Let the sinks write a block that went node by node, and leave its receipt."""
        self._leave_receipt(uuid, ticket, await self._walks.finish(uuid, ticket))

    def _leave_receipt(self, uuid: str, ticket: int, receipt: dict[str, Any]) -> None:
        """Let a receipt go with the message that its task is finished: one message a block."""
        receipt["worker"] = self.address
        self.resources.note(receipt)
        label = self._labels.get(uuid, "")
        state = self._worker.state.tasks.get(ticket_key(label, uuid, ticket))
        if state is not None:
            # as bytes: Dask would measure and walk through anything else
            state.metadata["limadask"] = pickle.dumps(receipt)

    def _acknowledge(self, uuid: str, ticket: int) -> None:
        station = self._stations.get(uuid)
        if station is not None and station.blocks is not None:
            station.blocks.acknowledge(ticket)

    def _pass(self, uuid: str, ticket: int) -> None:
        """Wait no longer for blocks that hold up the other receivers."""
        station = self._stations.get(uuid)
        if station is not None and isinstance(station.blocks, MatchedBlocks):
            station.blocks.pass_to(ticket)

    def _drop(self, uuid: str) -> None:
        station = self._stations.get(uuid)
        if station is not None and station.blocks is not None:
            station.blocks.end(drop=True)

    def _poll(self, uuid: str, ends: bool = False) -> None:
        """Begin to poll the user's sources of values, or end."""
        if (station := self._stations.get(uuid)) is not None:
            (station.stop_polls if ends else station.poll)()

    def _process_held(self, uuid: str) -> None:
        station = self._stations.get(uuid)
        if station is not None and isinstance(station.blocks, HeldBlocks):
            station.blocks.release()

    # ---- what the coordinator asks --------------------------------------------------------------

    async def _greet(self, uuid: str, neighbours: int) -> dict[str, Any]:
        """Give signs of life from now on, until the run is released; know what frames may have."""
        self._greeted.add(uuid)
        release_memory()  # what malloc keeps is not needed
        self._equipment.bound(neighbours)
        return {"result": None}

    async def _open(self, uuid: str, request: bytes, index: int, count: int) -> dict[str, Any]:
        for station in self._stations.values():  # the new one needs memory
            if isinstance(station.blocks, HeldBlocks):
                station.blocks.leave_memory()

        def work() -> str:
            station = self._station(uuid, request)
            self._equipment.claim(station)
            return station.open_receiver(index, count)

        return await answer_of(work)

    async def _prepare(self, uuid: str, endpoints: list[str], threads: int) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            station = self._stations[uuid]
            nbytes = self._equipment.pool_nbytes(station)
            prepared = station.prepare_detector(tuple(endpoints), nbytes, threads)
            return prepared_message(prepared, station.request.detector)

        return await answer_of(work)

    async def _check(
        self, uuid: str, request: bytes, prepared: bytes, seconds: float
    ) -> dict[str, Any]:
        return await answer_of(lambda: self._station(uuid, request).check(loads(prepared), seconds))

    async def _setup(
        self,
        uuid: str,
        request: bytes,
        prepared: bytes,
        label: str,
        acquisition_rank: int,
        rank: int | None,
        ranks: int,
        processors: dict[str, int],
        receivers: list[str],
        deferred: bool,
        stays: bool,
        names: dict[str, Any],
    ) -> dict[str, Any]:
        self._ranks[uuid], self._labels[uuid] = acquisition_rank, label
        mine = [receive_label(one) for one in (None, *range(len(receivers)))]
        self._prefixes |= {label, ASSEMBLE, BEGIN, *mine}
        if rank is not None:
            await self.transfers.warm_up(receivers)
        station = self._station(uuid, request)

        def failed(error: str) -> None:
            self._send("limadask-receiver-ended", uuid, progress=station.progress(), error=error)

        def work() -> bytes:
            made = loads(prepared)
            on_overrun = station.request.policy.on_overrun
            own = self.address if stays else ""
            credits = lent_blocks(processors, len(receivers), own, made.nb_slots, on_overrun)
            ahead = None if deferred else max(2, sum(credits.values()))
            held = Deferral(self._worker.local_directory, failed, ahead)
            is_held = deferred or on_overrun == "hold"
            ready = station.setup(
                made, rank, ranks, credits, stays, names, held if is_held else None
            )
            if station.processing is not None:
                self.lasting.keep(uuid, station.processing.lasting())
            release_memory()
            return dumps(ready)

        answer = await answer_of(work)
        if "error" not in answer:
            answer = await self._equipment.equip(station, answer, () if stays else processors)
        self._memory.begin(alone=len(self._stations) == 1)
        if self._stations.get(uuid) is not station:  # nobody waits for it any more
            self._equipment.release(uuid)
            await answer_of(station.release)
        return answer

    async def _start(self, uuid: str) -> dict[str, Any]:
        station = self._stations[uuid]
        blocks = station.blocks
        if blocks is None:
            return {"result": None}

        ended = functools.partial(self._receiver_ended, uuid)
        pressed = functools.partial(self._tell, uuid)
        told = Feedback(self._loop.call_soon_threadsafe, blocks, ended, pressed)
        return await answer_of(lambda: station.start(told))

    async def _start_detector(self, uuid: str) -> dict[str, Any]:
        return await answer_of(self._stations[uuid].start_detector)

    async def _trigger(self, uuid: str) -> dict[str, Any]:
        return await self._if_known(uuid, lambda station: station.trigger())

    async def _pause(self, uuid: str, resume: bool) -> dict[str, Any]:
        return await self._if_known(uuid, lambda station: station.pause(resume))

    async def _stop(self, uuid: str, abort: bool) -> dict[str, Any]:
        return await self._if_known(uuid, lambda station: station.stop(abort))

    async def _give_back(self, uuid: str) -> dict[str, Any]:
        return await self._if_known(uuid, Station.give_back)

    async def _close(self, uuid: str) -> dict[str, Any]:
        def work(station: Station) -> dict[str, Any]:
            resources = self.resources.of_run(uuid)
            closed = station.close()
            dumped = {node: dumps(parts) for node, parts in closed.parts.items()}
            return {
                "receipts": closed.receipts,
                "parts": dumped,
                "trouble": closed.trouble,
                "resources": {**resources, "settings": self._equipment.told(uuid)},
                "parcels": station.end_polls(),
            }

        return await self._if_known(uuid, work)

    async def _found(self, uuid: str, ranks: list[int]) -> dict[str, Any]:
        return await self._if_known(
            uuid, lambda station: station.processing.found(ranks) if station.processing else []
        )

    async def _join(
        self, uuid: str, parts: dict[str, list[bytes]], record: dict[str, Any]
    ) -> dict[str, Any]:
        def work(station: Station) -> dict[str, Any]:
            made = {
                node: [one for dumped in some for one in loads(dumped)]
                for node, some in parts.items()
            }
            if station.processing is None:
                raise RuntimeError(f"nothing of acquisition {uuid} is processed here")
            files, trouble = station.processing.join(made, station.record(record))
            return {"files": files, "trouble": trouble}

        return await self._if_known(uuid, work)

    async def _release(self, uuid: str) -> dict[str, Any]:
        station = self._stations.pop(uuid, None)
        self._greeted.discard(uuid)
        self._ranks.pop(uuid, None)
        self._labels.pop(uuid, None)
        self._equipment.release(uuid)
        self.resources.end(uuid)
        self._walks.forget(uuid)
        if station is None:
            return {"result": None}
        answer = await answer_of(station.release)
        del station
        release_memory()
        clean()  # of others on this computer that were killed meanwhile
        return answer

    async def _if_known(self, uuid: str, work: Callable[[Station], Any]) -> dict[str, Any]:
        """Answer for a station; one that is not there (yet, or any more) has nothing to say."""
        station = self._stations.get(uuid)
        return {"result": None} if station is None else await answer_of(lambda: work(station))

    def _blocks(self, uuid: str) -> Blocks | MatchedBlocks | None:
        station = self._stations.get(uuid)
        return station.blocks if station is not None else None

    # ---- details ------------------------------------------------------------------------------

    def _station(self, uuid: str, request: bytes) -> Station:
        if uuid not in self._stations:
            name, host = str(self._worker.name), get_address_host(self.address)
            self.resources.begin(uuid)
            self._stations[uuid] = Station(loads(request), name, self.settings, host)
        return self._stations[uuid]

    def _tick(self) -> None:
        for uuid in self._greeted:
            self._tell(uuid)
        tidy(lambda: merge_digests(self._worker, self._prefixes))

    def _tell(self, uuid: str) -> None:
        """Give a sign of life, and tell how far a run has come."""
        told = sign(self._stations.get(uuid), self._memory.look())
        self._send("limadask-tick", uuid, process=self._process_identity, **told)

    def _receiver_ended(self, uuid: str) -> None:
        station = self._stations.get(uuid)
        if station is None or station.receiving is None or station.blocks is None:
            return
        station.blocks.end()
        if details := station.receiving.details:
            logger.error("receiver of acquisition %s: %s", uuid, details)
        error = station.receiving.progress.error
        resources = {**self.resources.of_run(uuid), "settings": self._equipment.told(uuid)}
        progress = {**station.progress(), "resources": resources}
        self._send("limadask-receiver-ended", uuid, progress=progress, error=error)

    def _send(self, operation: str, uuid: str, **message: Any) -> None:
        self._worker.batched_send({"op": operation, "uuid": uuid, **message})
