"""Results of a whole run, as far as it has come on one worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from limadask.frames import Spec, Status
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import Step, blank
from limadask.pipeline.tile import Value
from limadask.task import Running, State


class RunningStep(Step):
    """Takes frames into states: as many as there are threads, so that none waits for another.

    What it has can be asked for while the run goes on, and for some time after.
    """

    lasting = True

    def __init__(self, node: PlannedNode, task: Running, states: States | None = None) -> None:
        super().__init__(node)
        self._task, self._spec = task, node.inputs[0]
        self.states = states or States(task, self._spec)
        lacks = states is not None
        self._step = task.stepper(self._spec, lacks)
        self._step(task.init(self._spec), blank(self._spec))  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return RunningStep(node, self._task, self.states)

    def run(self, *inputs: Value) -> None:
        """Take a tile into a state."""
        value = inputs[0]
        pixels, kept = value.contiguous(), value.frames().status != Status.VETOED
        if not kept.all():
            pixels = np.ascontiguousarray(pixels[kept])
        if len(pixels):
            with self.states.one() as state:
                self._step(state, pixels)

    def state(self) -> State:
        """Return one state of all threads' frames."""
        return self.states.merged()


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
        with self._lock:
            for lock, state in self._all:
                if lock.acquire(blocking=False):
                    return lock, state
            lock, state = threading.Lock(), self._task.init(self._spec)
            lock.acquire()
            self._all.append((lock, state))
            return lock, state
