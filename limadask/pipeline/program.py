"""A plan compiled for one worker: what is run for each block."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Codec, Frames, Mosaic, Packed
from limadask.memory import BufferPool, Freed, Tally, owning
from limadask.parameters import Policy
from limadask.pipeline.accumulation import AccumulateStep
from limadask.pipeline.memories import Memories
from limadask.pipeline.ordered import OrderedStep
from limadask.pipeline.outcome import Outcome
from limadask.pipeline.passage import Passage, Yielded
from limadask.pipeline.plan import Plan, PlannedNode
from limadask.pipeline.product_sink import ProductSinkStep
from limadask.pipeline.running import RunningStep
from limadask.pipeline.steps import (
    CallStep,
    ConversionStep,
    PixelStep,
    ReductionStep,
    RefusedStep,
    SinkStep,
    Step,
    VetoStep,
    ViewStep,
)
from limadask.pipeline.tile import Tile, Value
from limadask.pipeline.timing import DECODE
from limadask.pipeline.turns import Turns
from limadask.storage import sound, unpack
from limadask.task import (
    Accumulating,
    ArrayTask,
    Conversion,
    Opening,
    Ordered,
    PixelTask,
    Place,
    Reduction,
    Running,
    Sink,
    Veto,
    ViewTask,
    Writer,
)

TILE = 2 << 20
"""Bytes of input handled at a time: small enough to stay in the cache from step to step."""
CALL_TILE = 32 << 20
"""The same where labelled arrays are made, which costs up to 1 ms each."""
DECODED = 4
"""Buffers for decoded frames, where they are small; at least one for each of two threads."""
MOST_DECODED = 8
"""How many times as many there may be, where sinks keep them until they write."""
PATTERNS = 16
"""Patterns of missing pixels that steps are kept for."""


class Program:
    """A plan on one worker, with its kernels compiled and its sinks open.

    Several threads may run blocks at the same time.

    Parameters
    ----------
    plan:
        What is to be done.
    policy:
        What happens when a task raises.
    uuid:
        The acquisition.
    rank, ranks:
        Number of this worker among those that process, and how many these are.
    worker:
        Its name.
    fresh:
        Whether every result gets memory of its own, rather than what its thread used before.
    about:
        What is known of the run, for the sinks.
    part, mosaics:
        Which part of the frames it gets, and how what each sink gets of all parts makes full
        frames.

    Raises
    ------
    ConfigError
        When a sink cannot be opened or a task cannot be set up, naming the node.
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        uuid: str = "",
        rank: int = 0,
        ranks: int = 1,
        worker: str = "",
        fresh: bool = False,
        about: Mapping[str, Any] | None = None,
        part: int = 0,
        mosaics: Mapping[str, Mosaic] | None = None,
    ) -> None:
        self.plan, self.policy = plan, policy
        self._place = Place("", uuid, rank, ranks, worker, about or {}, part)
        self._mosaics = mosaics or {}
        self.steps: list[Step] = []
        self.writers: dict[str, Writer] = {}
        self.trouble: list[str] = []
        self._is_closed = False
        self._variants: dict[Any, list[Step]] = {}
        self._lock, self._turns = threading.Lock(), Turns()
        self._decoded: BufferPool | None = None
        self._made: weakref.WeakSet[Freed] = weakref.WeakSet()
        self._chunks = Tally("chunks", uuid)
        self._tile = _tile(plan)
        self._memories = Memories(plan, policy.on_error, uuid, fresh, self._tile)
        try:
            for node in plan.before + plan.nodes:
                try:
                    with owning(uuid, node.name, self._made):
                        self.steps.append(self._compiled(node))
                except ConfigError as error:
                    raise error.at(node.name) from error
        except BaseException:
            self.close()
            raise
        self._ends, self._is_in_order = plan.ends(), bool(plan.in_order)
        self._lost = {step.name: plan.ends(step.name) for step in self.steps}

    def run(self, frames: Frames) -> Outcome:
        """Take one block through all nodes, some frames at a time."""
        if not self._is_in_order:
            return self._run(frames)
        with self._turns.block(*frames.span):
            return self._run(frames)

    def begin(self, first: int) -> None:
        """Be told the number of the first frame, where it is not 0."""
        self._turns.begin(first)

    def _run(self, frames: Frames) -> Outcome:
        decodes = frames.packed is not None and self._decodes(frames.packed.codec)
        frames = sound(frames, deeply=not decodes)
        passage = self._passage(frames)
        is_light = frames.packed is not None and not decodes  # nothing is to stay in the cache
        for part, missing in self._parts(frames, len(frames) if is_light else self._tile):
            value = self.value(frames, part, missing)
            if decodes and not _is_decoded(value, passage):  # before a step sees it or saves it
                self._take_sound(passage, frames, part)
            else:
                self._take(passage, self.plan.source, value, part)
        return passage.finish()

    def walk(self, frames: Frames) -> Walk:
        """Take one block through the nodes one by one, when asked; to look at, not for speed."""
        frames = sound(frames)
        return Walk(self, self._passage(frames), frames)

    def drain(self) -> Iterator[Outcome]:
        """Take what accumulations still hold through the nodes that come after them."""
        for step in self.steps:
            for value in step.drain():
                passage = self._passage(value.frames())
                self._take(passage, step.name, value, slice(None))
                yield passage.finish()

    def close(self) -> dict[str, dict[str, Any]]:
        """Close sinks and tasks; return what each sink is to hand to ``join``.

        Every one is closed, also after the failure of another; what went wrong is in
        :attr:`trouble`.
        """
        parts = {}
        self._write_results()
        for name, writer in self.writers.items():
            with self._noted(name):
                parts[name] = writer.close()
        for step in () if self._is_closed else self.steps:
            with self._noted(step.name):
                step.close()
        self.writers, self._is_closed = {}, True
        for memory in self._made:
            memory.free()
        return parts

    def _write_results(self) -> None:
        """Let sinks have what is known here of the whole run; once, at its end."""
        known = {step.name: step for step in self.steps if isinstance(step, RunningStep)}
        for node, _ in () if self._is_closed else self.plan.sinks():
            if node.name in self.writers and (step := known.get(node.after[0])) is not None:
                with self._noted(node.name):
                    writer = self.writers[node.name]
                    writer.write([writer.encode(step.state())])

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """Note what is raised: it is any plugin's code, and the others must be closed as well."""
        try:
            yield
        except Exception as error:
            self.trouble.append(f"{name!r} could not be closed: {type(error).__name__}: {error}")

    def lasting(self) -> dict[str, Any]:
        """Return what outlives the run for a while, by node: some sinks, results of the run."""
        kept = {step.name: step for step in self.steps if isinstance(step, RunningStep)}
        sinks = {n: one for n, one in self.writers.items() if getattr(one, "lasting", False)}
        return {**kept, **sinks}

    def place(self, node: str) -> Place:
        """Return where a sink is opened."""
        return replace(self._place, node=node, mosaic=self._mosaics.get(node))

    def _compiled(self, node: PlannedNode) -> Step:
        task = node.task
        if isinstance(task, ViewTask):
            return ViewStep(node, task, self._memories.of(node))
        if isinstance(task, PixelTask):
            return PixelStep(node, task, self._memories.of(node))
        if isinstance(task, Conversion):
            return ConversionStep(node, task)
        if isinstance(task, Veto):
            return VetoStep(node, task, self.plan.all_skip_vetoed(node.name))
        if isinstance(task, Reduction):
            return ReductionStep(node, task)
        if isinstance(task, Running):
            return RunningStep(node, task, self._turns)
        if isinstance(task, Ordered):
            return OrderedStep(node, task, self._turns)
        if isinstance(task, Accumulating):
            return AccumulateStep(node, task, self._place.uuid)
        if isinstance(task, Sink):
            if node.name not in self.writers:
                self._open(node)
            writer = self.writers[node.name]
            if task.may_keep and node.products is None and self._memories.lasts(node.after[0]):
                setattr(writer, "keeps", True)  # noqa: B010 - only some have it
            kind = SinkStep if node.products is None else ProductSinkStep
            return kind(node, task, writer)
        return CallStep(node, task)

    def _open(self, node: PlannedNode) -> None:
        """Open a sink, together with those that write the same files."""
        group = self.plan.sharing(node.name)
        first, *others = [Opening(sink, one.given, self.place(one.name)) for one, sink in group]
        try:
            if others:
                writers = type(first.sink).open_together([first, *others])
            else:
                writers = [first.sink.open(first.spec, first.place)]
        except ConfigError as error:
            raise error.at(node.name) from error
        self.writers |= {one.name: writer for (one, _), writer in zip(group, writers, strict=True)}

    def _decodes(self, codec: Codec) -> bool:
        """Tell whether some step needs the pixels of frames that come compressed so."""
        source = self.plan.source
        return any(source in step.parents and not step.takes(codec) for step in self.steps)

    def _take_sound(self, passage: Passage, frames: Frames, part: slice) -> None:
        """Take on those of some packed frames, one by one, that can be decoded."""
        for place in range(*part.indices(len(frames))):
            one = slice(place, place + 1)
            value = self.value(frames, one)
            if value.decode():
                self._take(passage, self.plan.source, value, one)
            else:
                passage.outcome.add_corrupt(one)

    def value(self, frames: Frames, part: slice, missing: NDArray[np.bool_] | None = None) -> Value:
        """Return some frames of a block; they are decoded when a step asks for their pixels."""
        tile = Tile(frames, part)
        if frames.sparse is not None:
            return Value(frames.pixels, tile, missing, sparse=frames.sparse[part])
        if frames.packed is None:
            return Value(frames.pixels[part], tile, missing)
        packed = frames.packed[part]
        return Value(partial(self._unpacked, packed), tile, missing, packed)

    def warm(self) -> None:
        """Have the memory that compressed frames are decoded into, before any comes."""
        source = self.plan.source
        if any(source in one.parents and not isinstance(one, SinkStep) for one in self.steps):
            self._decoding()

    def _decoding(self) -> BufferPool:
        with self._lock:
            if self._decoded is None:
                nbytes = self._tile * self.plan.raw.frame_nbytes
                slots = max(2, min(DECODED, CALL_TILE // nbytes))
                pool = partial(BufferPool, stage="decode", uuid=self._place.uuid)
                try:
                    self._decoded = pool(slots, nbytes, ceiling=MOST_DECODED * slots)
                except MemoryError:  # other stages have it all: each block gets memory of its own
                    self._decoded = pool(0, nbytes)
        return self._decoded

    def _unpacked(self, packed: Packed) -> NDArray[Any]:
        """Decode frames into a buffer of the pool, or into new memory where all are in use."""
        pixels = self._decoding().array(packed.pixels_shape, packed.dtype)
        unpack(packed, pixels)
        return pixels

    def _parts(self, frames: Frames, tile: int) -> Iterator[tuple[slice, NDArray[np.bool_] | None]]:
        """Cut a block into tiles; a frame that lacks pixels is a tile of its own."""
        lacking = np.isin(frames.numbers, list(frames.invalid)).nonzero()[0].tolist()
        start = 0
        for edge in (*lacking, len(frames)):
            for first in range(start, edge, max(1, tile)):
                yield slice(first, min(first + tile, edge)), None
            if edge < len(frames):
                yield slice(edge, edge + 1), frames.invalid[int(frames.numbers[edge])]
            start = edge + 1

    def _take(self, passage: Passage, edge: str, value: Value, part: slice) -> None:
        """Take frames on from ``edge``, by steps of their own where they lack pixels."""
        steps = self.steps if value.missing is None else self._lacking(edge, value.missing)
        passage.take(steps, {edge: value}, part)
        self.take_waiting(passage, part)

    def take_waiting(self, passage: Passage, part: slice) -> None:
        """Take on what lacks pixels since some node, such as a sum of frames that did."""
        while passage.waiting:
            edge, value = passage.waiting.pop(0)
            self._take(passage, edge, value, part)

    def _lacking(self, edge: str, missing: NDArray[np.bool_]) -> list[Step]:
        """Return the steps for frames that lack pixels on an edge, made once for each pattern."""
        key = edge, missing.shape, blake2b(np.packbits(missing).tobytes()).digest()
        with self._lock:
            steps = self._variants.pop(key, None)
        if steps is None:
            by_name = {step.name: step for step in self.steps}
            nodes = self.plan.lacking(edge, missing)
            steps = [self._step_lacking(by_name[node.name], node) for node in nodes]
        with self._lock:
            self._variants[key] = steps
            while len(self._variants) > PATTERNS:
                del self._variants[next(iter(self._variants))]
        return steps

    def _step_lacking(self, step: Step, node: PlannedNode) -> Step:
        """Return a step for frames that lack pixels; one that raises where there can be none."""
        if node.refusal:
            return RefusedStep(node, node.refusal)
        try:
            with owning(self._place.uuid, node.name, self._made):
                return step.lacking(node)
        except Exception as error:
            return RefusedStep(node, f"{type(error).__name__}: {error}")

    def _passage(self, frames: Frames) -> Passage:
        return Passage(frames, self._ends, self._lost, self.policy, self._chunks)


def _is_decoded(value: Value, passage: Passage) -> bool:
    """Decode frames, and note the time; False where they cannot be."""
    began = time.perf_counter()
    try:
        return value.decode()
    finally:
        passage.outcome.timing.add(DECODE, began)


class Walk:
    """One block on its way through a program, a node at a time.

    A block with frames that lack pixels goes at once, at its end: each has steps of its own.
    """

    def __init__(self, program: Program, passage: Passage, frames: Frames) -> None:
        self._program, self._passage, self._frames = program, passage, frames
        self._steps = {step.label: step for step in program.steps}
        self._part = slice(0, len(frames))
        self._values: Yielded = {program.plan.source: program.value(frames, self._part)}

    def step(self, label: str) -> None:
        """Take the block through one node."""
        if not self._frames.invalid:
            self._passage.take([self._steps[label]], self._values, self._part)

    def finish(self) -> Outcome:
        """Return what came of it."""
        if self._frames.invalid:
            return self._program.run(self._frames)
        self._program.take_waiting(self._passage, self._part)
        return self._passage.finish()


def _tile(plan: Plan) -> int:
    """Return how many frames are handled at a time."""
    nodes = plan.before + plan.nodes
    calls = any(not isinstance(node.task, ArrayTask | Sink) for node in nodes)
    return max(1, (CALL_TILE if calls else TILE) // plan.raw.frame_nbytes)
