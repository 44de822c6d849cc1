"""One acquisition as its coordinator sees it: what is out, what has come back, what is next.

Lives in the scheduler's event loop, survives its client, and runs no user code.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from statemachine import State

from limadask.engine.messages import dumps
from limadask.engine.port import Port, WorkerError, WorkerInfo
from limadask.engine.window import Window
from limadask.errors import ConfigError
from limadask.events import (
    Event,
    FileClosed,
    FramesAbsent,
    FramesDone,
    StateChanged,
    TaskFailed,
)
from limadask.frames import Status
from limadask.ledger import Ledger
from limadask.states import DetectorSide, ProcessingSide

WINDOW = 64
"""Tickets out for one receiver."""
FAILURES_KEPT = 1000
"""Failures of tasks that are kept in words; the ledger has them all."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long things may take, seconds."""

    prepare: float = 120.0
    command: float = 20.0
    settle: float = 20.0
    close: float = 120.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the coordinator is told of a run in plain words; the rest is bytes to it.

    Parameters
    ----------
    receivers, workers, shared:
        The topology.
    max_absent:
        Frames that may be absent: a number, a fraction below 1, None for any.
    label:
        The nodes' names, for the dashboard.
    fuse:
        Whether all nodes of a block are one task.
    """

    receivers: int
    workers: int
    shared: bool
    max_absent: float | None
    label: str
    fuse: bool = True


class Run:
    """One acquisition.

    Parameters
    ----------
    uuid:
        Its name.
    rank:
        Larger for later acquisitions: these go first.
    request:
        Pickled :class:`~limadask.engine.messages.Request`, for the workers.
    options:
        What the coordinator needs of it.
    port:
        The cluster.
    bounds:
        How long things may take.
    """

    def __init__(
        self,
        uuid: str,
        rank: int,
        request: bytes,
        options: Options,
        port: Port,
        bounds: Bounds | None = None,
    ) -> None:
        self.uuid, self.rank, self.request, self.options = uuid, rank, request, options
        self.bounds, self._port = bounds or Bounds(), port
        self.receivers: list[WorkerInfo] = []
        self.processors: list[WorkerInfo] = []
        self.ledger = Ledger()
        self.products: dict[str, list[bytes]] = defaultdict(list)
        self.notes: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.graph: list[tuple[str, list[str]]] = []
        self.failures: list[dict[str, Any]] = []
        self.seconds: Counter[str] = Counter()
        self.waited: deque[float] = deque(maxlen=2000)
        self.files: dict[str, str] = {}
        self.error, self.pickled_error, self.ready = "", b"", b""
        self.stopped = False
        self.began = self.acquired = self.ended = 0.0
        self._started = False
        self._lost: set[str] = set()
        self._windows: dict[tuple[str, str], Window] = {}
        self._tickets: dict[int, Window] = {}
        self._numbers = itertools.count()
        self._progress: dict[str, dict[str, Any]] = {}
        self._over: set[str] = set()
        self._receipts: Counter[str] = Counter()
        self._blocks: int | None = None
        self._done_told = 0
        self._changed = asyncio.Event()
        self.detector = DetectorSide(_Actions(self, "detector"))
        self.processing = ProcessingSide(_Actions(self, "processing"))

    # ---- what users ask for -------------------------------------------------------------------

    async def prepare(self) -> None:
        """Choose workers, configure the detector, open files; return when ready or failed."""
        self.detector.happen("configure")
        self.processing.happen("configure")
        await self.until(lambda: self.detector.current == "prepared" or self.is_over, None)

    async def start(self) -> None:
        """Start receiving, then the detector."""
        self.detector.happen("start")
        self.processing.happen("start")
        await self.until(lambda: self._started or self.is_over, None)

    async def trigger(self) -> None:
        """Give a software trigger."""
        self.detector.happen("trigger")
        for worker in self._receiving():
            await self._call(worker, "trigger", self.bounds.command)

    async def stop(self) -> None:
        """Let the detector end after this frame; what has come is processed."""
        self.detector.happen("stop")
        self.stopped = True

    async def abort(self) -> None:
        """End now: drop what is not being processed, close the files, keep the ledger."""
        if not self.detector.allows("abort") and self.processing.allows("abort"):
            self.processing.happen("abort")
        else:
            self.detector.happen("abort")
            if self.processing.allows("abort"):
                self.processing.happen("abort")
        self.stopped = True

    # ---- what the cluster tells ---------------------------------------------------------------

    def receipt(self, ticket: int, receipt: Mapping[str, Any]) -> None:
        """Take what came of a ticket; of a rerun's receipts the first counts."""
        window = self._tickets.pop(ticket, None)
        if window is None:
            return
        window.out.discard(ticket)
        if receipt["ending"] == "data":
            self._receipts[window.receiver] += 1
            self._account(receipt, window.receiver)
            self._port.send(window.receiver, "limadask-acknowledge", self.uuid, ticket=ticket)
        self.advance()

    def tick(self, worker: str, progress: Mapping[str, Any]) -> None:
        """Take how far a receiver has come."""
        self._progress[worker] = dict(progress)
        for first, stop, cause in progress["absences"]:
            self.mark_absent(first, stop, cause)
        self._tell_progress()

    def receiver_ended(self, worker: str, progress: Mapping[str, Any], error: str) -> None:
        """Take that a receiver's thread has ended."""
        self.tick(worker, progress)
        self._over.add(worker)
        if error:
            self.fail(f"the receiver on {self.name(worker)} ended with {error}")
        self._check_detector()
        self.advance()

    def worker_lost(self, worker: str) -> None:
        """Take that a worker is gone; its tickets come back as absent."""
        if worker not in {one.address for one in self.receivers + self.processors}:
            return
        self._lost.add(worker)
        if self._is_receiver(worker):
            self._over.add(worker)
        if not self._living(self.processors):
            for ticket in list(self._tickets):
                self.receipt(ticket, {"ending": "absent"})
            self.fail("no worker that processes is left")
        self._check_detector()
        self.advance()

    def mark_absent(self, first: int, stop: int, cause: str) -> None:
        """Record absent frames and hold their number against the policy."""
        if stop <= first:
            return
        self.ledger.mark(first, stop, Status.ABSENT, cause)
        self._publish(FramesAbsent, first=first, last=stop - 1, cause=cause)
        self._check_policy()

    def fail(self, text: str, pickled: bytes = b"") -> None:
        """End the run because of an error; files are closed and the ledger is kept."""
        if not self.error:
            self.error, self.pickled_error = text, pickled
        for side in (self.detector, self.processing):
            if side.allows("fail"):
                side.happen("fail")

    def advance(self) -> None:
        """Hand out tickets, or finish, whichever is due."""
        if self.processing.current in ("ready", "processing"):
            tickets = [
                ticket
                for window in self._windows.values()
                if window.receiver not in self._lost
                for ticket in window.refill(self._numbers, self._wanted(window.receiver))
            ]
            for ticket in tickets:
                self._tickets[ticket.number] = self._windows[ticket.receiver, ticket.processor]
            if tickets:
                nodes = [] if self.options.fuse else self.graph
                self._port.submit(self.uuid, self.options.label, self.rank, tickets, nodes)
            if self.processing.current == "processing" and self._is_done():
                self.processing.happen("finish")
        self._notify()

    @property
    def is_over(self) -> bool:
        """Whether both sides have ended."""
        return self.detector.ended and self.processing.ended

    @property
    def outcome(self) -> Literal["done", "stopped", "failed"]:
        """How it ended, or would if it ended now."""
        if self.error:
            return "failed"
        return "stopped" if self.stopped else "done"

    def status(self) -> dict[str, Any]:
        """Return where it stands, as plain data."""
        received = sum(one.get("received", 0) for one in self._progress.values())
        return {
            "uuid": self.uuid,
            "state": (self.detector.current, self.processing.current),
            "outcome": self.outcome,
            "is_over": self.is_over,
            "error": self.error,
            "received": received,
            "processed": self._done_told,
            "last_frame": self._last_seen() - 1,
            "nb_frames": self.ledger.nb_frames,
            "frames": self.ledger.counts(),
            "tickets": len(self._tickets),
            "began": self.began,
            "acquired": self.acquired,
            "ended": self.ended,
            "files": self.files,
            "failures": self.failures,
            "seconds": dict(self.seconds),
            "latency": self._latency(),
            "free": {self.name(w): one.get("free") for w, one in self._progress.items()},
            "stage": self._stage(),
            "products": {node: len(parts) for node, parts in self.products.items()},
        }

    def name(self, address: str) -> str:
        """Return the name of a worker."""
        known = {one.address: one.name for one in self.receivers + self.processors}
        return known.get(address, address)

    async def until(self, condition: Any, timeout: float | None) -> bool:
        """Wait until something holds; False when ``timeout`` seconds are over."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    # ---- what is done on entering a state -----------------------------------------------------

    async def _prepare(self) -> None:
        stage = "choosing workers"
        try:
            async with asyncio.timeout(self.bounds.prepare):
                self._choose()
                stage = "opening the receivers"
                count = len(self.receivers)
                endpoints = [
                    await self._ask(
                        one.address, "open", request=self.request, index=index, count=count
                    )
                    for index, one in enumerate(self.receivers)
                ]
                stage = "configuring the detector"
                control = self.receivers[0]
                made = await self._ask(
                    control.address,
                    "prepare",
                    endpoints=endpoints,
                    pool_nbytes=(control.pool_nbytes, control.most_nbytes),
                )
                stage = "checking files"
                first = self.processors[0].address
                self.graph = await self._ask(
                    first, "check", request=self.request, prepared=made["prepared"]
                )
                stage = "opening files and compiling"
                self.ready = await self._setup(made["prepared"])
        except TimeoutError:
            self.fail(f"{stage} took longer than {self.bounds.prepare} s")
        except WorkerError as error:
            self.fail(error.text, error.pickled)
        except OSError as error:
            self.fail(f"{stage}: a worker cannot be reached: {error}")
        else:
            self.ledger.nb_frames = made["nb_frames"]
            self._blocks = made["nb_frames"] and ceil(made["nb_frames"] / made["per_block"])
            for side, event in ((self.detector, "armed"), (self.processing, "opened")):
                if side.current == "preparing":  # it may have been aborted meanwhile
                    side.happen(event)

    async def _setup(self, prepared: bytes) -> bytes:
        ranks = {one.address: rank for rank, one in enumerate(self.processors)}
        workers = {one.address: one for one in self.receivers + self.processors}
        answers = await asyncio.gather(
            *(
                self._ask(
                    address,
                    "setup",
                    request=self.request,
                    prepared=prepared,
                    label=self.options.label,
                    acquisition_rank=self.rank,
                    rank=ranks.get(address),
                    ranks=len(ranks),
                    processors={one.address: one.threads for one in self.processors},
                    receivers=[one.address for one in self.receivers],
                )
                for address in workers
            )
        )
        ready: bytes = answers[list(workers).index(self.processors[0].address)]
        return ready

    def _choose(self) -> None:
        """Choose the workers of the topology."""
        workers, wanted = self._port.workers(), self.options
        needed = max(wanted.receivers, wanted.workers)
        if not wanted.shared:
            needed = wanted.receivers + wanted.workers
        if len(workers) < needed:
            raise too_few(len(workers), needed)
        self.receivers = workers[: wanted.receivers]
        skip = 0 if wanted.shared else wanted.receivers
        self.processors = workers[skip : skip + wanted.workers]
        size = max(4, WINDOW // len(self.processors))
        self._windows = {
            (receiver.address, processor.address): Window(receiver.address, processor.address, size)
            for receiver in self.receivers
            for processor in self.processors
        }

    async def _start(self) -> None:
        self.began = time.time()
        try:
            async with asyncio.timeout(self.bounds.command):
                for worker in self.receivers:
                    await self._ask(worker.address, "start")
                await self._ask(self.receivers[0].address, "start_detector")
        except TimeoutError:
            self.fail(f"the detector did not start within {self.bounds.command} s")
        except WorkerError as error:
            self.fail(error.text, error.pickled)
        except OSError as error:
            self.fail(f"the detector cannot be reached: {error}")
        self._started = True
        self.advance()

    async def _stop(self, abort: bool) -> None:
        for worker in self._receiving():
            await self._call(worker, "stop", self.bounds.command, abort=abort)

    async def _halt(self) -> None:
        """Stop the detector now and wait, not for long, for its receivers to end."""
        await self._stop(abort=True)
        if self.began:
            await self.until(lambda: not self._receiving_now(), self.bounds.settle)
        self.detector.happen("halted")

    async def _close(self) -> None:
        """Wait for what is being processed, close the files, write the ledger down."""
        if self.processing.current != "closing":
            for worker in self._receiving():
                self._port.send(worker, "limadask-drop", self.uuid)
            # the detector's end says how far the frame numbers went
            await self.until(lambda: self.detector.ended, self.bounds.settle)
        await self.until(lambda: not self._tickets, self.bounds.settle)
        self._tell_progress()
        if self.ready:
            try:
                async with asyncio.timeout(self.bounds.close):
                    await self._close_files()
            except TimeoutError:
                self._note(f"closing the files took longer than {self.bounds.close} s")
            except WorkerError as error:
                self._note(f"closing the files: {error.text}")
            except OSError as error:
                self._note(f"closing the files: a worker cannot be reached: {error}")
        else:
            self._finish_ledger()
        self.ended = time.time()
        self.processing.happen("spoiled" if self.error else "closed")

    async def _close_files(self) -> None:
        living = self._living(self.processors)
        parts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for worker in living:
            answer = await self._ask(worker.address, "close")
            for receipt in answer["receipts"]:
                self._take_products({**receipt, "worker": worker.address})
            for node, part in answer["parts"].items():
                parts[node].append(part)
        ranks = [rank for rank, one in enumerate(self.processors) if one not in living]
        if ranks and living:  # the files win over the ledger
            found = await self._ask(living[0].address, "found", ranks=ranks)
            for numbers in found.values():
                for number in numbers:
                    self.ledger.mark(number, number + 1, Status.PRESENT)
        self._finish_ledger()
        if living:
            record = {
                "uuid": self.uuid,
                "state": self.outcome,
                "nb_frames": len(self.ledger),
                "ledger": self.ledger.dump(),
                "started": int(self.began * 1e9),
                "ended": int(time.time() * 1e9),
                "workers": [one.name for one in self.processors],
                "receivers": [one.name for one in self.receivers],
                "error": self.error,
            }
            files = await self._ask(living[0].address, "join", parts=dict(parts), record=record)
            self.files = files
            for node, path in files.items():
                self._publish(FileClosed, node=node, path=path)

    async def _release(self) -> None:
        """Let all workers forget the run."""
        for worker in {one.address for one in self.receivers + self.processors} - self._lost:
            await self._call(worker, "release", self.bounds.command)
        self._notify()

    # ---- details ------------------------------------------------------------------------------

    def _account(self, receipt: Mapping[str, Any], receiver: str) -> None:
        numbers = np.frombuffer(receipt["numbers"], np.int64)
        stamps = np.frombuffer(receipt["timestamps"], np.int64)
        odd = {number: (fate, cause) for number, fate, cause in receipt["odd"]}
        status = np.full(len(numbers), Status.PRESENT, np.uint8)
        if odd:
            status = np.array(
                [odd.get(number, (Status.PRESENT, ""))[0] for number in numbers.tolist()], np.uint8
            )
        self.ledger.mark_frames(numbers, status, lambda number: odd[number][1], self.name(receiver))
        self.ledger.stamp(numbers, stamps)
        self._done_told += len(numbers)
        self.seconds.update(receipt["seconds"])
        self.waited.append(receipt["waited"])
        self._take_products(receipt)
        if any(fate == Status.ABSENT for fate, _ in odd.values()):
            self._check_policy()

    def _take_products(self, receipt: Mapping[str, Any]) -> None:
        for node, data in receipt["products"].items():
            self.products[node].append(data)
        for node, notes in receipt["notes"].items():
            self.notes[node] += [(receipt["worker"], note) for note in notes]
        for node, first, last, text, abort in receipt["failures"]:
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append({"node": node, "first": first, "last": last, "text": text})
            self._publish(TaskFailed, node=node, first=first, last=last, text=text)
            if abort:
                self.fail(f"{node!r} raised for frames {first} to {last}: {text}")

    def _check_policy(self) -> None:
        bound = self.options.max_absent
        if bound is None:
            return
        if 0 < bound < 1:
            if self.ledger.nb_frames is None:
                return
            bound = int(bound * self.ledger.nb_frames)
        absent = self.ledger.counts()["absent"]
        if absent > bound:
            first, last, cause = self.ledger.ranges(Status.ABSENT)[-1]
            self.fail(
                f"{absent} frames are absent, the policy allows {int(bound)}; "
                f"the last are {first} to {last}, cause {cause!r}"
            )

    def _check_detector(self) -> None:
        if not self._receiving_now() and self.detector.allows("complete"):
            self.acquired = time.time()
            self.detector.happen("complete")

    def _finish_ledger(self) -> None:
        """Give every frame that is still pending its cause."""
        seen = self._last_seen()
        nb_frames = seen if self.ledger.nb_frames is None else self.ledger.nb_frames
        aborted = self.processing.current in ("aborting", "failing")
        received = "stopped" if aborted else "worker_lost"
        cause = "stopped" if self.stopped or aborted else "detector"
        if any(one.address in self._lost for one in self.receivers):
            received = cause = "receiver_lost"
        before = {(first, last) for first, last, _ in self.ledger.ranges(Status.ABSENT)}
        self.ledger.nb_frames = min(seen, nb_frames)
        self.ledger.finish(received)
        self.ledger.nb_frames = nb_frames
        self.ledger.finish(cause)
        for first, last, why in self.ledger.ranges(Status.ABSENT):
            if (first, last) not in before:
                self._publish(FramesAbsent, first=first, last=last, cause=why)

    def _wanted(self, receiver: str) -> int | None:
        """Return how many blocks may still come from a receiver, None if nobody knows."""
        if receiver in self._over:
            told = self._progress.get(receiver, {})
            return int(told.get("blocks", 0)) - self._receipts[receiver]
        if self._blocks is None:
            return None
        return max(2, self._blocks - self._receipts[receiver])

    def _is_done(self) -> bool:
        """Tell whether every block that was delivered has its receipt, and no ticket is out."""
        if not self.detector.ended or self._tickets:
            return False
        return all(
            one.address in self._lost or (self._wanted(one.address) or 0) <= 0
            for one in self.receivers
        )

    def _receiving_now(self) -> list[str]:
        return [one.address for one in self.receivers if one.address not in self._over]

    def _receiving(self) -> list[str]:
        return [one.address for one in self.receivers if one.address not in self._lost]

    def _living(self, workers: list[WorkerInfo]) -> list[WorkerInfo]:
        return [one for one in workers if one.address not in self._lost]

    def _is_receiver(self, worker: str) -> bool:
        return any(one.address == worker for one in self.receivers)

    def _last_seen(self) -> int:
        """Return the highest frame number any receiver has seen, plus one."""
        told = max((int(one.get("next", 0)) for one in self._progress.values()), default=0)
        return max(told, self.ledger.last(Status.PRESENT, Status.PARTIAL) + 1)

    def _latency(self) -> dict[str, float]:
        """Return how long the last blocks took from their last frame to the end of their sinks."""
        if not self.waited:
            return {}
        median, p99 = np.percentile(np.array(self.waited), (50, 99))
        return {"median": float(median), "p99": float(p99), "blocks": len(self.waited)}

    def _stage(self) -> str:
        if self.detector.current == "preparing":
            return "prepare"
        if self.processing.current in ("closing", "aborting", "failing"):
            return "closing"
        received = sum(one.get("received", 0) for one in self._progress.values())
        return "processing" if self.detector.ended or received > self._done_told else "detector"

    def _note(self, text: str) -> None:
        self.error = f"{self.error}; {text}" if self.error else text

    def _tell_progress(self) -> None:
        self._publish(
            FramesDone,
            count=self._done_told,
            last=self.ledger.last(Status.PRESENT, Status.PARTIAL),
        )

    def _publish(self, kind: type[Event], **fields: Any) -> None:
        self._port.publish(kind(self.uuid, time.time(), **fields))

    def _notify(self) -> None:
        self._changed.set()

    async def _ask(self, worker: str, operation: str, **message: Any) -> Any:
        return await self._port.call(worker, f"limadask_{operation}", self.uuid, **message)

    async def _call(self, worker: str, operation: str, timeout: float, **message: Any) -> None:
        """Ask a worker for something that must not stop us: trouble is noted, not raised."""
        try:
            async with asyncio.timeout(timeout):
                await self._ask(worker, operation, **message)
        except TimeoutError:
            self._note(f"{operation} on {self.name(worker)} took longer than {timeout} s")
        except WorkerError as error:
            self._note(f"{operation} on {self.name(worker)}: {error.text}")
        except OSError as error:
            self._note(f"{operation}: {self.name(worker)} cannot be reached: {error}")

    def entered(self, side: Literal["detector", "processing"], state: str) -> None:
        """Do what is due in a new state."""
        self._publish(StateChanged, side=side, state=state)
        jobs: dict[tuple[str, str], Callable[[], Coroutine[Any, Any, None]]] = {
            ("detector", "preparing"): self._prepare,
            ("detector", "acquiring"): self._start,
            ("detector", "stopping"): functools.partial(self._stop, abort=False),
            ("detector", "aborting"): self._halt,
            ("detector", "failing"): self._halt,
            ("processing", "closing"): self._close,
            ("processing", "aborting"): self._close,
            ("processing", "failing"): self._close,
        }
        if job := jobs.get((side, state)):
            self._port.spawn(job())
        if self.is_over:
            self._port.spawn(self._release())
        self.advance()


class _Actions:
    """Listens to one side: what is done hangs on the states it enters."""

    def __init__(self, run: Run, side: Literal["detector", "processing"]) -> None:
        self._run, self._side = run, side

    def on_enter_state(self, target: State) -> None:
        """Hand on, except for the state that a machine is born in."""
        if target.id != "idle":
            self._run.entered(self._side, target.id)


def too_few(found: int, needed: int) -> WorkerError:
    """Return the error of a cluster that is too small for the topology."""
    error = ConfigError(
        f"the cluster has {found} worker(s), the topology needs {needed}: start more, or ask for "
        "less",
        node="topology",
        field="workers",
        value=found,
        allowed=f"at least {needed} workers",
    )
    return WorkerError(str(error), dumps(error))
