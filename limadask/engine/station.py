"""What one acquisition has on one worker: detector, receiver, blocks and program."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from limadask.engine.blocks import Blocks
from limadask.engine.messages import (
    Prepared,
    Ready,
    Request,
    progress_message,
    receipt,
)
from limadask.engine.receiving import Receiving
from limadask.engine.sizing import LATENCY, size_blocks
from limadask.detector import Receiver, hardware_grid, share, software_steps
from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, Status
from limadask.ledger import Ledger
from limadask.memory import BufferPool, PoolStatistics
from limadask.parameters import SoftwareParameters
from limadask.pipeline import INPUT, Plan, Program, plan
from limadask.task import RunRecord, Sink
from limadask.version import versions

logger = logging.getLogger(__name__)
RELEASE_TIMEOUT = 5.0
"""Seconds that a receiver may take to return from ``take`` after its end."""


class Station:
    """One acquisition on one worker.

    The methods block; the worker calls them from threads, one at a time, except
    :meth:`process`, which runs in several.

    Parameters
    ----------
    request:
        The acquisition.
    worker:
        Name of the worker.
    """

    def __init__(self, request: Request, worker: str) -> None:
        self.request, self.worker = request, worker
        self.receiver: Receiver | None = None
        self.receiving: Receiving | None = None
        self.program: Program | None = None
        self.blocks: Blocks | None = None
        self._prepared: Prepared | None = None
        self._pool: BufferPool | None = None
        self._controls = False
        self._told = 0

    # ---- prepare ----------------------------------------------------------------------------

    def open_receiver(self, index: int, count: int) -> str:
        """Let the receiver listen; return its address."""
        self.receiver = self.request.detector.receiver(index, count)
        return self.receiver.open()

    def prepare_detector(self, endpoints: tuple[str, ...], pool_nbytes: int) -> Prepared:
        """Configure the detector and decide on the blocks; done on the control worker alone."""
        request, detector = self.request, self.request.detector
        info = detector.info()
        self._controls = True
        shared = share(request.asked, info, detector.capabilities())
        hardware = detector.prepare(shared.hardware, endpoints)
        raw = Spec(
            hardware_grid(info, hardware),
            np.dtype(hardware.dtype),
            hardware.bands,
            hardware.nb_frames or None,
        )
        prepared = Prepared(info, hardware, raw, 1, 0, LATENCY)
        nb_merged = self.planned(prepared).nb_merged
        bound = int(request.buffers.nbytes or pool_nbytes)
        count, slots = size_blocks(raw, hardware, request.buffers, bound, nb_merged)
        patience = max(LATENCY, 2 * count * hardware.period)
        if hardware.trigger_mode != "internal":
            patience = LATENCY
        return replace(prepared, nb_frames_per_block=count, nb_slots=slots, patience=patience)

    def planned(self, prepared: Prepared) -> Plan:
        """Plan the pipeline for what the detector took."""
        request = self.request
        steps = software_steps(request.asked, prepared.info, prepared.raw.grid)
        return plan(request.pipeline, prepared.raw, steps, request.keep)

    def check(self, prepared: Prepared) -> None:
        """Plan, and look at files and folders, before anything is opened."""
        for node in self.planned(prepared).nodes:
            try:
                node.task.check()
            except ConfigError as error:
                raise error.at(node.name) from error

    def setup(
        self, prepared: Prepared, rank: int | None, ranks: int, credits: Mapping[str, int]
    ) -> Ready:
        """Open the sinks and compile where blocks are processed; make the pool where received."""
        self._prepared = prepared
        planned = self.planned(prepared)
        request = self.request
        if rank is not None:
            self.program = Program(planned, request.policy, request.uuid, rank, ranks, self.worker)
        if self.receiver is not None:
            nbytes = prepared.nb_frames_per_block * prepared.raw.frame_nbytes
            try:
                self._pool = BufferPool(prepared.nb_slots, nbytes)
            except MemoryError as error:
                raise ConfigError(
                    str(error), node="buffers", field="nbytes", value=prepared.nb_slots * nbytes
                ) from error
            group = prepared.nb_frames_per_block
            if planned.nb_merged > 1:
                group = max(group, planned.nb_merged)
            self.blocks = Blocks(credits, group if planned.nb_merged > 1 else 0)
            self.receiver.arm(prepared.hardware)
        return self._ready(prepared, planned)

    def _ready(self, prepared: Prepared, planned: Plan) -> Ready:
        size = prepared.nb_frames_per_block * prepared.raw.frame_nbytes
        software = SoftwareParameters(
            before_input=tuple(node.effective() for node in planned.before),
            nodes=tuple(node.effective() for node in planned.nodes),
            input_grid=planned.input.grid,
            input_dtype=planned.input.dtype.name,
            nb_frames_per_block=prepared.nb_frames_per_block,
            nb_slots=prepared.nb_slots,
            pool_nbytes=size * prepared.nb_slots,
            versions=versions(),
        )
        names = [INPUT, *(name for node in planned.nodes for name in node.members)]
        outputs = {name: planned.output(name) for name in names}
        slim = {
            name: out.replace(masked=None) if isinstance(out, Spec) else out
            for name, out in outputs.items()
        }
        files = {
            node.name: path
            for node in planned.nodes
            if isinstance(node.task, Sink) and (path := node.task.path())
        }
        return Ready(prepared.hardware, software, slim, files)

    # ---- run --------------------------------------------------------------------------------

    def start(self, deliver: Callable[[Frames], object], ended: Callable[[], object]) -> None:
        """Start to receive, then the detector."""
        prepared = self._prepared
        if self.receiver is not None and self._pool is not None and prepared is not None:
            self.receiving = Receiving(
                self.receiver,
                self._pool,
                prepared.raw,
                prepared.nb_frames_per_block,
                prepared.patience,
                deliver,
                ended,
            )
            self.receiving.start()

    def start_detector(self) -> None:
        """Start the exposures, if the detector is controlled from here."""
        if self._controls:
            self.request.detector.start()

    def trigger(self) -> None:
        """Give a software trigger."""
        if self._controls:
            self.request.detector.trigger()
        if self.receiver is not None:
            self.receiver.trigger()

    def stop(self, abort: bool) -> None:
        """Stop the detector, then receiving."""
        if self._controls:
            self.request.detector.stop(abort)
        if self.receiving is not None:
            self.receiving.stop(abort)

    def process(self, frames: Frames) -> dict[str, Any]:
        """Take a block through the pipeline; return its receipt. Never raises."""
        program = self.program
        assert program is not None  # noqa: S101 - only processing workers get blocks
        try:
            outcome = program.run(frames)
            return receipt(outcome, time.time() - frames.born if frames.born else 0.0)
        except Exception as error:  # nothing may reach Dask: a traceback would hold the slot
            numbers = frames.numbers.tolist()
            text = f"{type(error).__name__}: {error}"
            odd = [(number, int(Status.ABSENT), "task_error:limadask") for number in numbers]
            return {
                "ending": "data",
                "numbers": frames.numbers.tobytes(),
                "timestamps": frames.timestamps.tobytes(),
                "odd": odd,
                "products": {},
                "failures": [("limadask", numbers[0], numbers[-1], text, True)],
                "seconds": {},
                "waited": 0.0,
            }

    def progress(self) -> dict[str, Any]:
        """Return how far receiving has come, with absences not told before."""
        if self.receiving is None:
            return {}
        message = progress_message(self.receiving.progress, self._told)
        self._told += len(message["absences"])
        statistics = self.pool_statistics()
        return {**message, "free": statistics.free if statistics else 0}

    def pool_statistics(self) -> PoolStatistics | None:
        """Return what the receiver's pool holds, if there is one."""
        return self._pool.statistics() if self._pool is not None else None

    # ---- end --------------------------------------------------------------------------------

    def close_program(self) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        """Drain accumulations and close the sinks; return receipts and the sinks' parts."""
        if self.program is None:
            return [], {}
        receipts = [receipt(outcome, 0.0) for outcome in self.program.drain()]
        return receipts, self.program.close()

    def join(self, parts: dict[str, list[dict[str, Any]]], run: RunRecord) -> dict[str, str]:
        """Let the sinks make one whole of all workers' parts; return the files by node."""
        files = {}
        program = self.program
        if program is not None:
            for node, sink in program.sinks():
                sink.join(node.inputs[0], program.place(node.name), parts[node.name], run)
                if path := sink.path():
                    files[node.name] = path
        return files

    def record(self, fields: dict[str, Any]) -> RunRecord:
        """Complete what the coordinator knows of the run's end by what the worker knows."""
        prepared, request = self._prepared, self.request
        assert prepared is not None  # noqa: S101 - a run that ends has been set up
        ready = self._ready(prepared, self.planned(prepared))
        return RunRecord(
            **{**fields, "ledger": Ledger.load(fields["ledger"])},
            parameters={
                "user": request.asked.model_dump(mode="json"),
                "hardware": prepared.hardware.model_dump(mode="json"),
                "software": ready.software.model_dump(mode="json"),
            },
            detector={
                **prepared.info.model_dump(mode="json"),
                "parameters": request.detector.model_dump(mode="json"),
            },
            metadata=request.metadata,
        )

    def found(self, ranks: list[int]) -> dict[str, list[int]]:
        """Return frame numbers that workers of these ranks had saved before they died, by sink."""
        if self.program is None:
            return {}
        program = self.program
        return {
            node.name: [
                number
                for rank in ranks
                for number in sink.recover(node.inputs[0], program.place(node.name), rank)
            ]
            for node, sink in program.sinks()
        }

    def release(self) -> None:
        """Give everything back; what fails is logged, and the rest is given back all the same."""
        actions: list[Callable[[], object]] = []
        if self.receiving is not None:
            actions += [functools.partial(self.receiving.stop, abort=True), self._end_receiving]
        if self.receiver is not None:
            actions.append(self.receiver.close)
        if self._controls:
            actions.append(self.request.detector.close)
        if self.program is not None:
            actions.append(self.program.close)
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
