"""What one acquisition has on one worker: detector, receiver, blocks and program."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from limadask.detector import Deal, Receiver
from limadask.engine import planning
from limadask.engine.about import about, record
from limadask.engine.blocks import Blocks
from limadask.engine.feedback import Feedback
from limadask.engine.gauge import Gauge
from limadask.engine.holding import Deferral, HeldBlocks
from limadask.engine.matched import MatchedBlocks
from limadask.engine.messages import Prepared, Ready, Request, progress_message
from limadask.engine.processing import Closed, Processing
from limadask.engine.receiving import Receiving
from limadask.engine.recording import DETECTOR
from limadask.engine.relief import relief
from limadask.engine.spool import Spool
from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, packed_bound
from limadask.memory import Allocator, BufferPool, PoolStatistics, Pressure, UntouchedAllocator
from limadask.naming import Names
from limadask.storage import sound, unpacked
from limadask.task import Place, RunRecord
from limadask.timeseries import Parcel, Polls

logger = logging.getLogger(__name__)
RELEASE_TIMEOUT = 5.0
"""Seconds that a receiver may take to return from ``take`` after its end."""


class Station:
    """One acquisition on one worker.

    The methods block; the worker calls them from threads, one at a time. What is done with blocks
    is in :attr:`processing`, on workers that process.

    Parameters
    ----------
    request:
        The acquisition.
    worker:
        Name of the worker.
    settings:
        What was set there for speed, for the record.
    host:
        Where the worker is reached.
    """

    def __init__(
        self, request: Request, worker: str, settings: dict[str, Any], host: str = "127.0.0.1"
    ) -> None:
        self.request, self.worker, self._settings = request, worker, settings
        self.host = host
        self._takes_late = True
        self.receiver: Receiver | None = None
        self.receiving: Receiving | None = None
        self.processing: Processing | None = None
        self.blocks: Blocks | MatchedBlocks | None = None
        self._prepared: Prepared | None = None
        self._ready: Ready | None = None
        self._pool: BufferPool | None = None
        self.spool: Spool | None = None
        self._gauge: Gauge | None = None
        self._controls = self.keeps = False
        self.cores: Collection[int] = ()
        """Cores that the receiver's thread is pinned to."""
        self._deal = Deal()  # outlives the receiver, which is given back before its blocks are done
        self._told = 0
        self._readings, self._polls = Polls(), Polls()
        """What the detector tells of itself, and what the user wants to be asked for."""

    # ---- prepare ----------------------------------------------------------------------------

    def open_receiver(self, index: int, count: int) -> str:
        """Let the receiver listen; return its address."""
        self._deal = self.request.deal(index)
        self.receiver = self.request.detector.receiver(index, count)
        self.receiver.deal, self.receiver.host = self._deal, self.host
        return self.receiver.open()

    def prepare_detector(
        self, endpoints: tuple[str, ...], pool_nbytes: tuple[int, int | None], threads: int = 1
    ) -> Prepared:
        """Configure the detector and decide on the blocks; done on the control worker alone."""
        info, shared = planning.share_of(self.request)
        self._controls = True
        detector = self.request.detector
        try:
            hardware = detector.prepare(shared.hardware, endpoints)
            armed = detector.as_armed(info)
        finally:
            if not self._controls:  # aborted and given back meanwhile, before it was armed
                detector.close()
        prepared = planning.prepare(self.request, armed, hardware, pool_nbytes, threads)
        return replace(prepared, packs=self.receiver is not None and self.receiver.packs)

    def check(self, prepared: Prepared, seconds: float) -> dict[str, Any]:
        """Look at files and folders before any is opened.

        Returns nodes with their parents, and the fields of names, for a run prepared at that time.
        """
        names = planning.names(self.request, seconds)
        planned = planning.checked(planning.with_names(self.request, names), prepared)
        nodes = planned.before + planned.nodes
        labels = {node.name: node.label for node in nodes}
        graph = [
            (node.label, [labels[one] for one in node.after if one in labels]) for node in nodes
        ]
        return {"graph": graph, "names": names}

    def setup(
        self,
        prepared: Prepared,
        rank: int | None,
        ranks: int,
        credits: Mapping[str, int],
        stays: bool,
        names: Names,
        deferral: Deferral | None = None,
    ) -> Ready:
        """Open the sinks and compile where blocks are processed; arm the receiver, if any.

        Where everything ``stays``, blocks are processed by the worker that has received them.
        """
        self.keeps = stays and prepared.packs and deferral is None
        self._prepared = prepared
        request = self.request = planning.with_names(self.request, names)
        planned = planning.planned(request, prepared)
        self._ready = planning.ready(request, prepared, planned, self._settings)
        if rank is not None:
            written = about(request, prepared, self._ready.software)
            own = self._deal.index if stays and prepared.is_apart else None
            place = Place("", request.uuid, rank, ranks, self.worker, written)
            self.processing = Processing(request, prepared, planned, place, own)
        if self.receiver is not None:
            # a sum does not wait for them, nor frames in order, nor do the other receivers
            self._takes_late = (
                planned.nb_merged == 1 and not planned.in_order and not prepared.is_matched
            )
            group = 0 if planned.nb_merged == 1 else planned.nb_merged
            self.blocks = (
                self._match(deferral)
                or self._hold(deferral, credits, group)
                or Blocks(credits, group)
            )
            self.receiver.arm(prepared.hardware)
        return self._ready

    def _match(self, deferral: Deferral | None) -> MatchedBlocks | None:
        """Return blocks that go with those of other receivers, if there are any."""
        prepared = self._prepared
        if prepared is None or not prepared.is_matched:
            return None
        if deferral is not None:
            raise ConfigError(
                "parts of frames cannot be held until later",
                node="topology", field="dispatch", value="partial",
                allowed="another dispatch, or a live batch",
            )  # fmt: skip
        return MatchedBlocks(prepared.nb_frames_per_block)

    def _hold(
        self, deferral: Deferral | None, credits: Mapping[str, int], group: int
    ) -> HeldBlocks | None:
        """Return blocks that are held until they are asked for, if they are to be."""
        prepared = self._prepared
        if deferral is None or prepared is None:
            return None
        if deferral.ahead is None and self.request.policy.drop == "oldest":
            raise ConfigError(
                "frames that are held until later are not let go", node="policy", field="drop",
                value="oldest", allowed="newest, {every: n}, or a live run",
            )  # fmt: skip
        folder = self.request.buffers.folder or deferral.folder
        try:
            self.spool = Spool(
                folder,
                self.pool_size[1],
                lambda nbytes: self._pool.lend_spare(nbytes) if self._pool else None,
                self.request.uuid,
            )
        except OSError as error:
            raise ConfigError(
                f"frames cannot be held there: {error}",
                node="buffers", field="folder", value=folder,
                allowed="a folder that the receiver's worker can write to",
            ) from error  # fmt: skip

        def free() -> int:
            return statistics.left if (statistics := self.pool_statistics()) else 0

        return HeldBlocks(
            credits, group, self.spool, prepared.nb_slots, free, deferral.failed, deferral.ahead
        )

    @property
    def pool_size(self) -> tuple[int, int]:
        """Slots that the receiver's pool may have, and bytes of each; none without a receiver."""
        prepared = self._prepared
        if self.receiver is None or prepared is None:
            return 0, 0
        spec = self._received(prepared)
        nbytes = spec.frame_nbytes
        if prepared.packs:
            nbytes = packed_bound(nbytes, len(spec.bands))
        return prepared.nb_slots, prepared.nb_frames_per_block * nbytes

    def make_pool(self, allocator: Allocator | None = None) -> None:
        """Make the receiver's pool; last of all, when preparing has given its memory back."""
        slots, nbytes = self.pool_size
        if not slots or (prepared := self._prepared) is None:
            return
        least = min(slots, prepared.nb_least_slots)
        try:
            if self.keeps:  # the slots are only counted
                allocator, least = UntouchedAllocator(), slots
            self._pool = BufferPool(least, nbytes, allocator, uuid=self.request.uuid, ceiling=slots)
        except MemoryError as error:
            raise ConfigError(
                str(error), node="buffers", field="nbytes", value=slots * nbytes,
                allowed="what the worker's computer has free",
            ) from error  # fmt: skip

    # ---- run --------------------------------------------------------------------------------

    def start(self, told: Feedback) -> None:
        """Start to receive; the acquisition thread tells what happens."""
        prepared = self._prepared
        # the thread must not know the station: memory would go with the next garbage collection
        part, blocks = self._deal.index, self.blocks

        def deliver_part(frames: Frames) -> None:
            frames.part = part
            told.deliver(frames)

        def deliver_pixels(frames: Frames) -> None:
            told.deliver(unpacked(sound(frames)))

        handed: Callable[[Frames], object]
        if prepared is not None and prepared.is_apart:
            handed = deliver_part
        elif self.receiver is not None and self.receiver.packs and self.part is not None:
            handed = deliver_pixels  # parts are put together by their pixels
        else:
            handed = told.deliver

        if self.receiver is not None and self._pool is not None and prepared is not None:
            self._gauge = Gauge(self._pool, told.pressed)
            self.receiving = Receiving(
                self.receiver,
                self._pool,
                self._received(prepared),
                prepared.nb_frames_per_block,
                prepared.patience,
                handed,
                told.ended,
                takes_late=self._takes_late,
                relief=relief(self.request.policy, self._gauge, blocks, told.post),
                keeps=self.keeps,
                cores=self.cores,
            )
            self.receiving.start()

    def start_detector(self) -> None:
        """Start the exposures, if the detector is controlled from here."""
        if self._controls:
            detector = self.request.detector
            detector.start()
            if names := [f"{DETECTOR}{name}" for name in detector.recorded]:
                self._readings.add_group(names, self._read, detector.recorded_every)

    def _read(self) -> dict[str, Any]:
        return {f"{DETECTOR}{name}": one for name, one in self.request.detector.readings().items()}

    def poll(self) -> None:
        """Begin to poll the user's sources of values."""
        self._polls.add(self.request.polled)

    def stop_polls(self) -> None:
        """Poll the user's sources a last time, without waiting for it."""
        self._polls.stop()

    def parcels(self) -> list[Parcel]:
        """Return the values that have come since the last call."""
        taken = [self._readings.take(), self._polls.take()]
        return [one for one in taken if one["samples"]]

    def trigger(self) -> None:
        """Give a software trigger."""
        if self._controls:
            self.request.detector.trigger()
        if self.receiver is not None:
            self.receiver.trigger()

    def pause(self, resume: bool = False) -> None:
        """Let no exposure begin for a while, or go on; where triggers are withheld that is all."""
        if self._prepared is None or not self._prepared.pauses:
            return
        control = self.request.detector if self._controls else None
        for one in (control, self.receiving):
            if one is not None:
                (one.resume if resume else one.pause)()

    def stop(self, abort: bool) -> None:
        """Stop the detector, then receiving."""
        if self._controls:
            self.request.detector.stop(abort)
        if self.receiving is not None and self.receiver is not None:
            self.receiving.stop(abort)

    def progress(self) -> dict[str, Any]:
        """Return how far receiving has come, with absences not told before."""
        if self.receiving is None:
            return {}
        absences = self.receiving.progress.absences[self._told :]
        self._told += len(absences)
        message = progress_message(self.receiving.progress, absences, self._deal)
        statistics = self.pool_statistics()
        names = {"free": "left", "slots": "most", "slot_nbytes": "slot_nbytes"}
        pool = {one: getattr(statistics, at) for one, at in names.items()} if statistics else {}
        if isinstance(self.blocks, Blocks):
            message["blocks"] -= self.blocks.nb_let_go
            message["received"] -= self.blocks.nb_frames_let_go
            message["absences"] += [(*one, "overrun") for one in self.blocks.take_gone()]
        trouble = self.blocks.trouble if isinstance(self.blocks, HeldBlocks) else ""
        detector = self.request.detector if self._controls else None
        told = {"fault": detector.fault(), "over": detector.is_over()} if detector else {}
        return {**message, "free": 0, "trouble": trouble, **pool, **told}

    @property
    def part(self) -> int | None:
        """Which part of each frame is received here, None for all of it."""
        is_part = isinstance(self.blocks, MatchedBlocks) and self._deal.count > 1
        return self._deal.index if is_part else None

    def _received(self, prepared: Prepared) -> Spec:
        """Return what the receiver here delivers."""
        return prepared.parts[self._deal.index] if prepared.parts else prepared.raw

    def pool_statistics(self) -> PoolStatistics | None:
        """Return what the receiver's pool holds, if there is one."""
        return self._pool.statistics() if self._pool is not None else None

    # ---- end --------------------------------------------------------------------------------

    def close(self) -> Closed:
        """Drain sums and close the sinks."""
        pool, self._pool = self._pool, None  # its memory goes with the last block
        try:
            return self.processing.close() if self.processing is not None else Closed([], {}, [])
        finally:
            if pool is not None:
                pool.retire()

    def record(self, fields: dict[str, Any]) -> RunRecord:
        """Complete what the coordinator knows of the run's end by what the worker knows."""
        prepared, ready = self._prepared, self._ready
        if prepared is None or ready is None:
            raise RuntimeError(f"acquisition {self.request.uuid} was never set up on {self.worker}")
        return record(self.request, prepared, ready.software, fields)

    def pressure(self) -> Pressure:
        """Return how full the receiver's pool is; one that gets nothing more is under none."""
        is_used = self._pool is not None and not self._pool.is_retired
        return self._gauge.look() if self._gauge is not None and is_used else Pressure()

    def end_polls(self) -> list[Parcel]:
        """Poll the user's sources a last time; return the values that have not been taken."""
        return [self._polls.end()]

    def give_back(self) -> list[Parcel]:
        """Give the detector back, and memory that no frame is in: no further ones will come.

        Returns what the detector has told of itself and has not been taken.
        """
        parcels = [self._readings.end()]
        actions: list[Callable[[], object]] = []
        if self.receiving is not None and self.receiver is not None:
            actions += [functools.partial(self.receiving.stop, abort=True), self._end_receiving]
        if self.receiver is not None:
            actions.append(self.receiver.close)
        if self._controls:
            actions.append(self.request.detector.close)
        if self._pool is not None:
            actions.append(self._pool.retire)
        self.receiver, self._controls = None, False
        self._all(actions)
        return parcels

    def release(self) -> None:
        """Give everything back."""
        actions: list[Callable[[], object]] = [self.end_polls, self.give_back]
        if self.processing is not None:
            actions.append(self.processing.release)
        if self.spool is not None:
            actions.append(self.spool.close)
        self._all(actions)

    def _all(self, actions: Sequence[Callable[[], object]]) -> None:
        """Do all of them; what fails is logged, and the rest is done all the same."""
        for action in actions:
            try:
                action()
            except Exception:
                logger.exception("acquisition %s on %s", self.request.uuid, self.worker)

    def _end_receiving(self) -> None:
        if self.receiving is not None and self.receiving.is_alive():
            self.receiving.join(RELEASE_TIMEOUT)
            if self.receiving.is_alive():
                logger.error("the receiver of %s does not return from take()", self.request.uuid)
