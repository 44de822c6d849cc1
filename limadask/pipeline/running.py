"""Results of a whole run, as far as it has come on one worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from limadask.frames import Frames, Spec, Status
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import Step, Told, blank
from limadask.pipeline.tile import Value
from limadask.pipeline.turns import Turns
from limadask.task import Running, State


class RunningStep(Step):
    """Takes frames into states: as many as there are threads, so that none waits for another.

    Where frames must come in order there is one. What it has can be asked for while the run goes
    on, and for some time after.
    """

    lasting = True

    def __init__(self, node: PlannedNode, task: Running, before: RunningStep | None = None) -> None:
        super().__init__(node)
        self._task, spec = task, node.inputs[0]
        self.states: States = before.states if before else States(task, spec)
        self.turns: Turns = before.turns if before else Turns()
        self._step = task.stepper(spec, lacks=before is not None)
        self._step(task.init(spec), Frames.of(blank(spec)))  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return RunningStep(node, self._task, self)

    def begin(self, first: int) -> None:
        """Be told the number of the first frame, where it is not 0."""
        self.turns.begin(first)

    def run(self, *inputs: Value) -> None:
        """Take a tile into a state."""
        value = inputs[0]
        value.contiguous()
        frames = self._frames(value)
        kept = frames.status != Status.VETOED
        if not kept.all():
            frames = frames.taking(kept)
        if self._task.ordered:
            self.turns.take(frames, self._take)
        elif len(frames):
            self._take(frames)

    def leave(self, span: tuple[int, int]) -> Sequence[Value | Told]:
        """Note that what has not come of a block will not, and take what waited for it."""
        if (
            self._task.ordered and self.node.inputs[0].nb_merged == 1
        ):  # sums have numbers of their own
            self.turns.leave(*span, self._take)
        return ()

    def drain(self) -> Sequence[Value | Told]:
        """Take what still waits."""
        self.turns.drain(self._take)
        return ()

    def state(self) -> State:
        """Return one state of all threads' frames."""
        return self.states.merged()

    def _take(self, frames: Frames) -> None:
        with self.states.one() as state:
            self._step(state, frames)


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
