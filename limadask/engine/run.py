"""One acquisition as its coordinator sees it: where it stands, and what is due next.

Lives in the scheduler's event loop, survives its client, and runs no user code.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal

from statemachine import State

from limadask.engine import closing, detecting, preparing, receivers
from limadask.engine.account import Account
from limadask.engine.consumption import Consumption
from limadask.engine.crew import Crew
from limadask.engine.joint_account import JointAccount
from limadask.engine.messages import dumps
from limadask.engine.options import Bounds, Options, Timing
from limadask.engine.port import Port
from limadask.engine.pressures import Pressures
from limadask.engine.recording import Recording
from limadask.engine.watch import Watch
from limadask.errors import StateError
from limadask.events import Event, FramesDone, FramesSaved, StateChanged
from limadask.states import DetectorSide, ProcessingSide

if TYPE_CHECKING:
    from limadask.engine.batch import Batch

SideName = Literal["detector", "processing"]
PROGRESS = 0.2
"""Seconds at least between two events about progress: receivers give signs of life more often
the more of them there are, and each event goes to every client."""


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
        self.crew = Crew([], [])
        parts = options.receivers if options.apart else 1
        self.account = JointAccount(self.publish, parts) if parts > 1 else Account(self.publish)
        self.graph: list[tuple[str, list[str]]] = []
        self.parts: dict[str, list[bytes]] = {}
        self.files: dict[str, str] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.consumption = Consumption()
        self.error, self.pickled_error, self.ready = "", b"", b""
        self.stopped = self.stalled = self.has_started = self.told_end = False
        self.prepares_ahead = self.gave_back = self._leaving = False
        self.pauses, self.is_paused, self.turn = False, False, asyncio.Lock()
        self.batch: Batch | None = None
        self.timing, self.triggers = Timing(), 0
        self.watch = Watch(self, options.stall_timeout)
        self.pressures = Pressures(self)
        self.recording = Recording(self, options.sources, options.polls)
        self._told_progress = float("-inf")
        self.began = self.acquired = self.ended = 0.0
        self._changed = asyncio.Event()
        self.detector = DetectorSide(_Listener(self, "detector"))
        self.processing = ProcessingSide(_Listener(self, "processing"))

    # ---- what users ask for -------------------------------------------------------------------

    async def prepare(self) -> None:
        """Choose workers, configure the detector, open files; return when ready or failed."""
        self.detector.happen("configure")
        self.processing.happen("configure")
        await self.until(lambda: self.detector.current == "prepared" or self.is_over, None)

    async def start(self) -> None:
        """Start receiving, then the detector."""
        self.detector.happen("start")
        self.processing.happen("defer" if self.options.deferred else "start")
        await self.until(lambda: self.has_started or self.is_over, None)

    async def trigger(self) -> None:
        """Give a software trigger."""
        self.detector.happen("trigger")
        self.triggers += 1
        for worker in self.crew.living_receivers:
            await detecting.ask_gently(self, worker, "trigger")

    async def pause(self) -> None:
        """Let no exposure begin until :meth:`resume`; what has been exposed is taken.

        Raises
        ------
        StateError
            When the detector cannot, or acquires nothing.
        """
        await self._until_started()
        if self.detector.allows("pause") and not self.pauses:
            raise StateError(
                "'pause' cannot be: the detector goes on by itself and does not say that it can; "
                "allowed: stop, abort; with trigger_mode 'software' every detector can be paused"
            )
        self.detector.happen("pause")
        self.pressures.user_pauses()
        await detecting.follow_pauses(self)

    async def resume(self) -> None:
        """Let exposures go on."""
        self.detector.happen("resume")
        self.pressures.user_pauses()
        await detecting.follow_pauses(self)

    async def process(self) -> None:
        """Begin to process the frames that are held; nothing is done where none are."""
        if self.processing.allows("process"):
            self.processing.happen("process")

    async def stop(self) -> None:
        """Let the detector end after this frame; what has come is processed."""
        await self._until_started()
        self.detector.happen("stop")
        self.stopped = True

    async def _until_started(self) -> None:
        """Wait while the detector starts: until then it can neither be stopped nor paused."""
        if self.detector.current == "acquiring":
            await self.until(lambda: self.has_started or self.detector.current != "acquiring", None)

    async def abort(self) -> None:
        """End now: drop what is not being processed, close the files, keep the ledger."""
        if self.detector.allows("abort") or not self.processing.allows("abort"):
            self.detector.happen("abort")
        if self.processing.allows("abort"):
            self.processing.happen("abort")
        self.stopped = True

    async def tell_saved(self) -> None:
        """Tell from now on which frames are safe, block by block."""
        self.account.tells_saved = True

    # ---- what the cluster tells ---------------------------------------------------------------

    def receipt(self, ticket: int, receipt: Mapping[str, Any]) -> None:
        """Take what came of a ticket; of a rerun's receipts the first counts."""
        has_block = receipt["ending"] == "data"
        window = self.crew.take(ticket, has_block)
        if window is None:
            return
        if has_block:
            part = self.crew.part_of(window.receiver)
            reason = self.account.take(receipt, self.crew.names_of(window), part)
            for source in window.sources:
                self.send(source, "limadask-acknowledge", ticket=ticket)
            self.tell_saved_frames()
            if not reason and (receipt["odd"] or receipt.get("missing")):
                reason = self.excess()
            if reason:
                self.fail(reason)
        self.advance()

    def tick(self, worker: str, progress: Mapping[str, Any]) -> None:
        """Take how far a receiver has come."""
        self.crew.progress[worker] = progress
        if self.options.matched:  # others may have their part of the frame
            self.account.presumed += progress["absences"]
            for late, block in self.crew.lagging().items():
                self.send(late, "limadask-pass", ticket=block)
        else:
            part = self.crew.part_of(worker)
            for first, stop, step, cause in progress["absences"]:
                self.account.mark_absent(first, stop, step, cause, part)
            if progress["absences"] and (reason := self.excess()):
                self.fail(reason)
            self.tell_saved_frames()
        if trouble := progress.get("trouble"):
            self.account.note_trouble("input", self.crew.seen, trouble)
        if (fault := progress.get("fault")) and self.detector.current in detecting.EXPOSING:
            self.fail(f"the detector: {fault}")
        if (now := time.monotonic()) - self._told_progress >= PROGRESS:
            self._told_progress = now
            self.tell_progress()
        receivers.end_rest(self)
        if progress.get("over"):
            receivers.end_quietly(self)
        self._changed.set()

    def receiver_ended(self, worker: str, progress: Mapping[str, Any], error: str) -> None:
        """Take that a receiver's thread has ended."""
        self.tick(worker, progress)
        self.consumption.take(self.crew.name(worker), progress.get("resources", {}))
        self.crew.end(worker)
        if error:
            self.fail(f"the receiver on {self.crew.name(worker)} ended with {error}")
        self.advance()

    def worker_lost(self, worker: str) -> None:
        """Take that a worker is gone; its tickets come back as absent."""
        if worker not in self.crew:
            return
        reason = receivers.intolerable(self, worker)
        self.crew.lose(worker)
        self.pressures.lost(worker)
        self.recording.lost()
        if reason:
            self.fail(reason)
        if not self.crew.living_processors:
            self.fail(f"no worker that processes is left: {self.crew.name(worker)} was the last")
            for ticket in list(self.crew.tickets):
                self.receipt(ticket, {"ending": "absent"})
        self.advance()

    def look(self, now: float, others: float = 0.0) -> None:
        """Fail when nothing has moved for too long; called from time to time.

        Parameters
        ----------
        now:
            Seconds of the monotonic clock.
        others:
            When another run was last processed by the same workers: it may have to wait for that.
        """
        self.recording.look(now)
        if error := self.watch.look(now, others):
            self.stalled = True
            self.fail(str(error), dumps(error))

    def fail(self, text: str, pickled: bytes = b"") -> None:
        """End the run because of an error; files are closed and the ledger is kept."""
        if not self.error:
            self.error, self.pickled_error = text, pickled
        for side in (self.detector, self.processing):
            if side.allows("fail"):
                side.happen("fail")

    def advance(self) -> None:
        """Do what is due: hand out tickets, or take note of an end."""
        receivers.write_off(self)
        receivers.end_rest(self)
        ended = self.began and not self.crew.receives
        if ended and self.detector.allows("complete") and not self._leaving:
            self.acquired, self._leaving = time.time(), True
            self._port.spawn(detecting.complete(self))
        if self._wants_tickets():
            if tickets := self.crew.refill():
                nodes = [] if self.options.fuse else self.graph
                self._port.submit(self.uuid, self.options.label, self.rank, tickets, nodes)
            if self.detector.ended and self.crew.is_done() and self.processing.allows("finish"):
                self.processing.happen("finish")
        self._changed.set()

    # ---- where it stands ----------------------------------------------------------------------

    @property
    def states(self) -> tuple[str, str]:
        """The states of both sides."""
        return self.detector.current, self.processing.current

    @property
    def is_over(self) -> bool:
        """Whether both sides have ended."""
        return self.detector.ended and self.processing.ended

    @property
    def is_aborting(self) -> bool:
        """Whether it ends early, by command or because of an error."""
        return self.processing.current in ("aborting", "failing")

    @property
    def outcome(self) -> Literal["done", "stopped", "failed"]:
        """How it ended, or would if it ended now."""
        if self.error:
            return "failed"
        return "stopped" if self.stopped else "done"

    def _wants_tickets(self) -> bool:
        early = "" if self.options.deferred else "ready"
        return self.processing.current in ("processing", early)

    def last_frame(self) -> int:
        """Return the highest frame number that anybody has seen, -1 if none."""
        return max(self.crew.seen, self.account.last() + 1) - 1

    def excess(self) -> str:
        """Return in words that more frames are absent than may be, empty if not."""
        return self.account.excess(self.options.max_absent)

    # ---- what it uses -------------------------------------------------------------------------

    async def ask(self, worker: str, operation: str, **message: Any) -> Any:
        """Ask a worker for something."""
        try:
            return await self._port.call(worker, f"limadask_{operation}", self.uuid, **message)
        except asyncio.CancelledError:  # who has lost patience will say with whom
            self.crew.leave_unanswered(worker, operation)
            raise

    def send(self, worker: str, operation: str, **message: Any) -> None:
        """Tell a worker something."""
        self._port.send(worker, operation, self.uuid, **message)

    def publish(self, kind: type[Event], **fields: Any) -> None:
        """Tell all clients an event."""
        self._port.publish(kind(self.uuid, time.time(), **fields))

    def tell_progress(self) -> None:
        """Tell all clients how far it is."""
        self.publish(FramesDone, count=self.account.done, last=self.account.last())

    def tell_saved_frames(self) -> None:
        """Tell all clients which frames have become safe, if somebody asked for it."""
        for first, last in self.account.take_saved():
            self.publish(FramesSaved, first=first, last=last)

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run something beside the rest."""
        self._port.spawn(job)

    def note(self, text: str) -> None:
        """Remember trouble that must not stop what is being done."""
        self.error = f"{self.error}; {text}" if self.error else text

    async def until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
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

    def entered(self, side: SideName, state: str) -> None:
        """Do what is due in a new state."""
        self.publish(StateChanged, side=side, state=state)
        jobs: dict[tuple[str, str], Callable[[], Coroutine[Any, Any, None]]] = {
            ("detector", "preparing"): self._prepare,
            ("detector", "acquiring"): self._start,
            ("detector", "paused"): functools.partial(detecting.follow_pauses, self),
            ("detector", "stopping"): functools.partial(detecting.stop, self, abort=False),
            ("detector", "aborting"): functools.partial(detecting.halt, self),
            ("detector", "failing"): functools.partial(detecting.halt, self),
            ("processing", "processing"): self._process,
            ("processing", "closing"): functools.partial(closing.close, self),
            ("processing", "aborting"): functools.partial(closing.close, self),
            ("processing", "failing"): functools.partial(closing.close, self),
        }
        if job := jobs.get((side, state)):
            self._port.spawn(job())
        if self.is_over:
            self._port.spawn(self._release())
        self.advance()

    async def _prepare(self) -> None:
        await preparing.prepare(self, self._port.workers())
        if self.is_over:  # aborted meanwhile: what was opened since then is to go as well
            await self._release()

    async def _start(self) -> None:
        if self.began:  # it goes on after a pause
            await detecting.follow_pauses(self)
            return
        await detecting.start(self)
        self.has_started = True
        self.advance()

    async def _process(self) -> None:
        """Let the receivers hand on what they hold."""
        for worker in self.crew.living_receivers if self.options.deferred else ():
            self.send(worker, "limadask-process")

    async def _release(self) -> None:
        """Let all workers forget the run."""
        asked = (detecting.ask_gently(self, one, "release") for one in self.crew.addresses)
        await asyncio.gather(*asked)
        self._changed.set()


class _Listener:
    """Listens to one side: what is done hangs on the states it enters."""

    def __init__(self, run: Run, side: SideName) -> None:
        self._run, self._side = run, side

    def on_enter_state(self, target: State) -> None:
        """Hand on, except for the state that a machine is born in."""
        if target.id != "idle":
            self._run.entered(self._side, target.id)
