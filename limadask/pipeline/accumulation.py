"""Sums of successive frames, over tiles and blocks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames, Spec, Status
from limadask.memory import BufferPool
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.steps import Step, blank
from limadask.pipeline.tile import Tile, Value
from limadask.task import Accumulating

AT_FIRST, MOST = 2, 64
"""Sums that there is memory for at first, and at most."""


class AccumulateStep(Step):
    """Sums successive frames; a group is complete when all its frames are accounted for.

    Absent frames are accounted for by the spans of the blocks around them.
    """

    has_state: ClassVar[bool] = True

    def __init__(self, node: PlannedNode, task: Accumulating, uuid: str = "") -> None:
        super().__init__(node)
        output = node.output
        if not isinstance(output, Spec):
            raise TypeError(f"{node.label} must yield frames")
        self._task, self._size, self._spec, self._out = task, task.nb_frames, node.inputs[0], output
        self._groups: dict[int, _Group] = {}
        self._lock = threading.Lock()
        self._add = task.adder(self._spec)
        self._empty = task.init(self._spec)
        self._sums = BufferPool(
            AT_FIRST, self._empty.nbytes, None, "scratch", uuid, node.name, ceiling=MOST
        )
        self._add(self._empty.copy(), blank(self._spec))  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return _Lacking(node, self)

    def run(self, *inputs: Value) -> list[Value]:
        """Add a tile; return the groups that are complete by it."""
        return self.add(inputs[0], None)

    def add(self, value: Value, missing: NDArray[np.bool_] | None) -> list[Value]:
        """Add a tile whose frames may lack pixels."""
        frames, pixels = value.frames(), value.contiguous()
        start, stop = frames.span
        complete = []
        for number in range(start // self._size, -(-stop // self._size)):
            first, last = number * self._size, (number + 1) * self._size
            if self._spec.nb_frames is not None:
                last = min(last, self._spec.nb_frames)
            part = slice(*np.searchsorted(frames.numbers, (first, last)))
            group = self._group(number)
            with group.lock:
                if part.stop > part.start:
                    self._add(group.state, pixels[part])
                    group.note(frames, part, missing)
                group.accounted += min(stop, last) - max(start, first)
                if group.accounted >= last - first:
                    complete.append(self._groups.pop(number))
        return self._values(complete)

    def drain(self) -> Sequence[Value]:
        """Return the groups that never became complete."""
        with self._lock:
            groups = [self._groups.pop(number) for number in sorted(self._groups)]
        return self._values(groups)

    def _group(self, number: int) -> _Group:
        with self._lock:
            group = self._groups.get(number)
            if group is None:
                state = self._sums.array(self._empty.shape, self._empty.dtype)
                np.copyto(state, self._empty)
                group = self._groups[number] = _Group(number, state)
            return group

    def _values(self, groups: list[_Group]) -> list[Value]:
        """Return the sums that lack nothing as one value, the others each by itself."""
        groups = [group for group in groups if group.count]
        sound = [group for group in groups if group.missing is None]
        values = [self._value(sound, None)] if sound else []
        for group in groups:
            if group.missing is not None:
                np.copyto(group.state, self._out.fill, where=group.missing)
                values.append(self._value([group], group.missing))
        return values

    def _value(self, groups: list[_Group], missing: NDArray[np.bool_] | None) -> Value:
        whole = [group.count == self._size and not group.partial for group in groups]
        numbers = np.array([group.number for group in groups], np.int64)
        states = [group.state for group in groups]
        frames = Frames(
            states[0][np.newaxis] if len(states) == 1 else np.stack(states),
            numbers,
            np.array([group.timestamp for group in groups], np.int64),
            np.where(whole, Status.PRESENT, Status.PARTIAL).astype(np.uint8),
            (int(numbers[0]), int(numbers[-1]) + 1),
        )
        return Value(frames.pixels, Tile(frames, slice(None)), missing)


class _Lacking(Step):
    """Adds frames that lack pixels to the sums of another step."""

    has_state: ClassVar[bool] = True

    def __init__(self, node: PlannedNode, sums: AccumulateStep) -> None:
        super().__init__(node)
        self._sums = sums

    def _replanned(self, node: PlannedNode) -> Step:
        return _Lacking(node, self._sums)

    def run(self, *inputs: Value) -> list[Value]:
        """Add a tile; return the groups that are complete by it."""
        return self._sums.add(inputs[0], self.node.inputs[0].masked)


class _Group:
    """The frames being summed into one."""

    def __init__(self, number: int, state: NDArray[Any]) -> None:
        self.number, self.state, self.lock = number, state, threading.Lock()
        self.count = self.accounted = 0
        self.timestamp, self.partial = 0, False
        self.missing: NDArray[np.bool_] | None = None

    def note(self, frames: Frames, part: slice, missing: NDArray[np.bool_] | None) -> None:
        """Take in what is known of the frames that were added."""
        began = int(frames.timestamps[part.start])  # blocks may come in any order
        self.timestamp = min(self.timestamp, began) if self.count else began
        self.count += part.stop - part.start
        if missing is not None:
            self.missing = missing if self.missing is None else self.missing | missing
        self.partial |= bool((frames.status[part] == Status.PARTIAL).any())  # vetoed ones are whole
