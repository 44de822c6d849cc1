"""Results of a whole run, as far as it has come on one worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from limadask.frames import Frames, Spec, Status
from limadask.pipeline.ordered import Order
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import Step, blank
from limadask.pipeline.tile import Value
from limadask.pipeline.turns import Turns
from limadask.task import Running, State


class RunningStep(Step):
    """Takes frames into states: as many as there are threads, so that none waits for another.

    Where frames must come in order there is one. What it has can be asked for while the run goes
    on, and for some time after.
    """

    lasting = True
    has_state: ClassVar[bool] = True

    def __init__(
        self, node: PlannedNode, task: Running, turns: Turns, before: RunningStep | None = None
    ) -> None:
        super().__init__(node)
        self._task, self._turns, spec = task, turns, node.inputs[0]
        self.states: States = before.states if before else States(task, spec)
        self.order: Order = before.order if before else Order()
        self._step = task.stepper(spec, lacks=before is not None)
        self._step(task.init(spec), Frames.of(blank(spec)))  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return RunningStep(node, self._task, self._turns, self)

    def run(self, *inputs: Value) -> None:
        """Take a tile into a state."""
        value = inputs[0]
        value.contiguous()
        frames = self._frames(value)
        kept = frames.status != Status.VETOED
        if not kept.all():
            frames = frames.taking(kept)
        if not len(frames):
            return
        if self._task.ordered:
            self._turns.wait()
            self.order.check(frames)
        with self.states.one() as state:
            self._step(state, frames)
        if self._task.ordered:
            self.order.note(frames)

    def state(self) -> State:
        """Return one state of all threads' frames, as far as others need it."""
        return self._task.told(self.states.merged())


class States:
    """The states of one task on one worker: each in one hand at a time."""

    def __init__(self, task: Running, spec: Spec) -> None:
        self._task, self._spec = task, spec
        self._lock = threading.Lock()
        self._all: list[tuple[threading.Lock, State]] = []

    @contextmanager
    def one(self) -> Iterator[State]:
        """Lend a state that nobody has."""
        lock, state = self._free()
        try:
            yield state
        finally:
            lock.release()

    def merged(self) -> State:
        """Return a state of all frames until now."""
        with self._lock:
            held = list(self._all)
        parts = [self._task.init(self._spec)]
        for lock, state in held:
            with lock:
                parts.append({name: array.copy() for name, array in state.items()})
        return self._task.merge(parts)

    def _free(self) -> tuple[threading.Lock, State]:
        if self._task.ordered and self._all:  # one state has all there is to know
            lock, state = self._all[0]
            lock.acquire()
            return lock, state
        with self._lock:
            for lock, state in self._all:
                if lock.acquire(blocking=False):
                    return lock, state
            lock, state = threading.Lock(), self._task.init(self._spec)
            lock.acquire()
            self._all.append((lock, state))
            return lock, state
