"""A planned node compiled for one worker: one step for each kind of task.

A step is called with a :class:`Value` for each node it comes after. It yields a ``Value``, None
where it has nothing to give yet, or what its kind collects: a table of by-products, or what a
sink keeps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Codec, Frames, Labels, Spec, Status, unlabelled
from limadask.memory import Memory
from limadask.pipeline.plan import PlannedNode
from limadask.pipeline.tile import Tile, Value, read_only
from limadask.pipeline.timing import ENCODE, WRITE, stage_of
from limadask.task import (
    Conversion,
    FunctionVeto,
    Measure,
    PixelTask,
    Products,
    Reduction,
    Sink,
    Task,
    Values,
    Veto,
    ViewTask,
    Writer,
    checked,
    stacked,
    tabled,
)

FIRST = np.zeros(1, np.int64)
"""The number of the blank frame that kernels are tried on."""


class Judged(NamedTuple):
    """What a veto has found: the frames that go on, if any, and the numbers of those vetoed."""

    value: Value | None
    vetoed: tuple[int, ...]


class Step(ABC):
    """One planned node on one worker."""

    has_state: ClassVar[bool] = False
    """Whether it takes frames into a state: it is never tried again, or some would count twice."""

    def __init__(self, node: PlannedNode) -> None:
        self.node, self.name, self.label, self.parents = node, node.name, node.label, node.after
        self.stage = stage_of(self.label)
        self.is_lacking = False

    def lacking(self, node: PlannedNode) -> Step:
        """Return the step for frames that lack pixels, as ``node`` is planned for them."""
        made = self._replanned(node)
        made.is_lacking = True
        return made

    @abstractmethod
    def _replanned(self, node: PlannedNode) -> Step:
        """Return the same step for other specs."""

    def _frames(self, value: Value, spec: Spec | None = None) -> Frames:
        """Return frames, as ``spec`` says, with what they lack, where this step is for such."""
        frames = value.frames()
        masked = (spec or self.node.inputs[0]).masked
        if self.is_lacking and masked is not None:
            frames.invalid = dict.fromkeys(frames.numbers.tolist(), masked)
        return frames

    def takes(self, codec: Codec) -> bool:
        """Tell whether it takes frames as they were compressed."""
        return False

    def drain(self) -> Sequence[Value]:
        """Return what is left at the end of the run."""
        return ()

    @abstractmethod
    def run(self, *inputs: Value) -> Any:
        """Work on one tile."""

    def products(self, collected: list[Any]) -> Values:
        """Return the by-products of what was collected from several tiles."""
        raise TypeError(f"{self.label} yields no by-products")

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what it has: no block comes any more."""


class ViewStep(Step):
    """Re-arranges pixels without touching them; who needs them in a row has them in ``memory``."""

    def __init__(self, node: PlannedNode, task: ViewTask, memory: Memory) -> None:
        super().__init__(node)
        self._task, self._view, self._memory = task, task.view, memory

    def _replanned(self, node: PlannedNode) -> Step:
        return ViewStep(node, self._task, np.empty)

    def run(self, *inputs: Value) -> Value:
        """Return a view."""
        value = inputs[0]
        return Value(self._view(value.pixels), value.tile, memory=self._memory)


class PixelStep(Step):
    """Runs a compiled kernel; what it yields lies in ``memory``."""

    def __init__(self, node: PlannedNode, task: PixelTask, memory: Memory) -> None:
        super().__init__(node)
        output = node.output
        if not isinstance(output, Spec):
            raise TypeError(f"{node.label} must yield frames")
        self._task, self._memory = task, memory
        self._shape, self._dtype = output.frame_shape, output.dtype
        self._kernel = task.kernel(node.inputs[0])
        numbers = (FIRST,) if task.numbered else ()
        self._kernel(
            blank(node.inputs[0]), np.empty((1, *self._shape), self._dtype), *numbers
        )  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return PixelStep(node, self._task, np.empty)

    def run(self, *inputs: Value) -> Value:
        """Return the computed frames."""
        value = inputs[0]
        pixels = value.contiguous()
        out = self._memory((len(pixels), *self._shape), self._dtype)
        if self._task.numbered:
            self._kernel(pixels, out, value.tile.numbers)
        else:
            self._kernel(pixels, out)
        return Value(out, value.tile)


class ConversionStep(Step):
    """Runs a compiled conversion between dense and sparse frames."""

    def __init__(self, node: PlannedNode, task: Conversion) -> None:
        super().__init__(node)
        self._task, self._convert = task, task.convert(node.inputs[0])
        self._convert(Frames.blank(node.inputs[0]))  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return ConversionStep(node, self._task)

    def run(self, *inputs: Value) -> Value:
        """Return the frames, kept in the other way."""
        value = inputs[0]
        if value.sparse is None:
            value.contiguous()
        frames = self._convert(value.frames())
        return Value(frames.pixels, value.tile, sparse=frames.sparse)


class ReductionStep(Step):
    """Runs a compiled reduction."""

    def __init__(self, node: PlannedNode, task: Reduction, measure: Measure | None = None) -> None:
        super().__init__(node)
        self._task, self._planned = task, node.output
        self._measure = measure or task.measure(node.inputs[0])
        numbers = (FIRST,) if task.numbered else ()
        self._measure(blank(node.inputs[0]), *numbers)  # compile before frames come

    def _replanned(self, node: PlannedNode) -> Step:
        return ReductionStep(node, self._task, self._task.lacking(self._measure, node.inputs[0]))

    def run(self, *inputs: Value) -> NDArray[Any] | Values:
        """Return a table of by-products, or these by name."""
        numbers = (inputs[0].tile.numbers,) if self._task.numbered else ()
        return self._measure(inputs[0].contiguous(), *numbers)

    def products(self, collected: list[Any]) -> Values:
        """Name the columns of the tables."""
        if not isinstance(self._planned, Products):
            raise TypeError(f"{self.label} must yield by-products")
        if isinstance(collected[0], dict):
            return stacked(collected)
        return tabled(self._planned, np.concatenate(collected))


class VetoStep(Step):
    """Lets a veto judge; drops what it refuses where nobody wants it.

    Numbers of vetoed frames are the detector's, also where frames are sums.
    """

    def __init__(self, node: PlannedNode, task: Veto, drops: bool) -> None:
        super().__init__(node)
        spec = node.inputs[0]
        self._task, self._drops, self._judge = task, drops, task.judge(spec)
        self._nb_merged = spec.nb_merged
        if not isinstance(task, FunctionVeto):  # compile before frames come
            self._judge(Frames.of(blank(spec)))

    def _replanned(self, node: PlannedNode) -> Step:
        return VetoStep(node, self._task, self._drops)

    def run(self, *inputs: Value) -> Judged:
        """Return the frames that go on, and the numbers of those vetoed."""
        value = inputs[0]
        value.contiguous()
        frames = self._frames(value)
        kept = np.asarray(self._judge(frames), bool)
        if kept.all():
            return Judged(value, ())
        refused = self._detector_numbers(frames.numbers[~kept])
        packed = value.packed
        if self._drops:
            frames = frames.taking(kept)
            packed = None if packed is None else packed[kept]
            going_on = Value(frames.pixels, Tile(frames, slice(None)), packed=packed)
            return Judged(going_on if len(frames) else None, refused)
        frames.status = np.where(kept, frames.status, np.uint8(Status.VETOED))
        vetoed = dict.fromkeys(frames.numbers[~kept].tolist(), f"veto:{self.name}")
        frames.causes = {**vetoed, **frames.causes}  # of several that refuse, the first tells
        return Judged(Value(frames.pixels, Tile(frames, slice(None)), packed=packed), refused)

    def _detector_numbers(self, numbers: NDArray[np.int64]) -> tuple[int, ...]:
        """Return the detector's frames that these stand for: several, where frames are sums."""
        count = self._nb_merged
        return tuple((numbers[:, np.newaxis] * count + np.arange(count)).ravel().tolist())


class RefusedStep(Step):
    """Stands for a step that cannot be made for frames that lack some pixels."""

    def __init__(self, node: PlannedNode, reason: str) -> None:
        super().__init__(node)
        self._reason = reason

    def _replanned(self, node: PlannedNode) -> Step:
        return self

    def run(self, *inputs: Value) -> None:
        """Raise, so that only what comes after this node is lost."""
        raise RuntimeError(f"cannot work on a frame that lacks these pixels: {self._reason}")


class CallStep(Step):
    """Calls a task with labelled blocks; whatever comes back is held against the plan."""

    def __init__(
        self, node: PlannedNode, task: Task, call: Callable[..., Any] | None = None
    ) -> None:
        super().__init__(node)
        self._task = task
        self._labels = [Labels(spec) for spec in node.inputs]
        self._call: Callable[..., Any] = call or task.setup(*node.inputs)

    def _replanned(self, node: PlannedNode) -> Step:
        return CallStep(node, self._task, self._call)

    def run(self, *inputs: Value) -> Value | Values:
        """Return what the task returned, as frames or by-products."""
        blocks = []
        for value, label, spec in zip(inputs, self._labels, self.node.inputs, strict=True):
            blocks.append(label(self._frames(value, spec)))
        result = self._call(*blocks)
        if isinstance(self.node.output, Products):
            return checked(self.node.output, inputs[0].tile.numbers, result)
        return self._checked(result, inputs[0])

    def products(self, collected: list[Any]) -> Values:
        """Join the by-products of several tiles."""
        return stacked(collected)

    def close(self) -> None:
        """Close what the task has set up, where it can be closed."""
        close = getattr(self._call, "close", None)
        if close is not None and self._call is not self._task:  # a task's field may be called so
            close()

    def _checked(self, result: xr.DataArray, value: Value) -> Value:
        planned = self.node.output
        if not isinstance(planned, Spec):
            raise TypeError(f"{self.label} must yield what it planned: {planned}")
        if not isinstance(result, xr.DataArray):
            raise TypeError(f"{self.label} planned frames and returned {type(result).__name__}")
        given = value.frames()
        frames = unlabelled(result)
        if planned.is_sparse != (frames.sparse is not None):
            kinds = ("dense", "sparse")
            raise ValueError(
                f"{self.label} planned {kinds[planned.is_sparse]} frames and returned "
                f"{kinds[not planned.is_sparse]} ones"
            )
        if "frame" not in result.coords:
            if len(frames) != len(given):
                raise ValueError(f"{self.label} returned frames without their numbers")
        elif not np.array_equal(frames.numbers, given.numbers):
            raise ValueError(
                f"{self.label} returned the frames {_range(frames.numbers)}, it was given "
                f"{_range(given.numbers)}: a task returns the frames it gets"
            )
        got = frames.pixels.shape[1:], frames.pixels.dtype
        if got != (planned.frame_shape, planned.dtype):
            raise ValueError(
                f"{self.label} planned frames {planned.frame_shape} {planned.dtype} and "
                f"returned {got[0]} {got[1]}"
            )
        # what is known of frames is not for tasks to change, nor to forget: times, status, causes
        kept = frames.sparse
        return Value.of(given.carrying(frames.pixels) if kept is None else given.holding(kept))


def blank(spec: Spec) -> NDArray[Any]:
    """Return a frame as kernels get it."""
    return read_only(np.zeros((1, *spec.frame_shape), spec.dtype))


def _range(numbers: NDArray[np.int64]) -> str:
    return f"{numbers[0]} to {numbers[-1]} ({len(numbers)})" if len(numbers) else "(none)"


class SinkStep(Step):
    """Feeds a sink's writer: the parallel part for each tile, the serial one for each block."""

    def __init__(self, node: PlannedNode, task: Sink, writer: Writer) -> None:
        super().__init__(node)
        self._task, self.writer = task, writer
        self.stage, self.writes = f"{self.label}{ENCODE}", f"{self.label}{WRITE}"
        self._skips = task.skips_vetoed
        self._codec: Codec | Literal["any"] | None = getattr(writer, "codec", None)

    def _replanned(self, node: PlannedNode) -> Step:
        return SinkStep(node, self._task, self.writer)

    def run(self, *inputs: Value) -> Any:
        """Return what the writer keeps of a tile."""
        frames = self._given(inputs[0])
        if self._skips and (vetoed := frames.status == Status.VETOED).any():
            if vetoed.all():
                return None
            frames = frames.taking(~vetoed)
        return self.writer.encode(frames)

    def takes(self, codec: Codec) -> bool:
        """Tell whether the writer compresses so itself, or takes any."""
        return self._codec in (codec, "any")

    def _given(self, value: Value) -> Frames:
        """Return frames as the writer takes them."""
        if value.packed is not None and self.takes(value.packed.codec):
            return value.tile.packed(value.packed)
        if self._task.needs_contiguous and value.sparse is None:
            value.contiguous()
        return self._frames(value)
