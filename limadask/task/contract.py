"""The contract of a task: a frozen value that plans, then works on blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Frames, Labels, Spec, spec_of, unlabelled
from limadask.model import Model

if TYPE_CHECKING:
    from limadask.ledger import Ledger

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a by-product: what a task yields besides frames.

    Parameters
    ----------
    dims:
        Dimensions after ``frame``.
    dtype:
        Type of its values.
    units:
        Units, empty for numbers.
    """

    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    units: str = ""


@dataclass(frozen=True, slots=True)
class Products:
    """What a reduction yields for each frame: labelled arrays, dims ``(frame, …)``.

    Parameters
    ----------
    variables:
        Name to :class:`Variable`.
    coordinates:
        Labels along the dimensions other than ``frame``: name to ``(dims, values)``.
    """

    variables: Mapping[str, Variable]
    coordinates: Mapping[str, tuple[tuple[str, ...], Any]] = field(default_factory=dict)


class Task(Model):
    """One node of a pipeline.

    A task is a value: two with equal fields are equal, and nothing about it changes during a run.
    """

    nb_inputs: ClassVar[int] = 1
    """Nodes it gets frames from."""

    @classmethod
    def task_name(cls) -> str:
        """Return the name in YAML: the class name in snake case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    def plan(self, spec: Spec) -> Spec | Products | None:
        """Predict what comes out of frames that are as ``spec`` says.

        Every mistake is found here, before a single exposure.

        Returns
        -------
        Spec, Products or None
            What comes out; None for a sink, which ends its branch.

        Raises
        ------
        ConfigError
            When the task cannot work on such frames.
        """
        return spec

    def check(self) -> None:
        """Look at files and folders; called where they will be used.

        Raises
        ------
        ConfigError
            When something is missing or in the way.
        """

    def setup(self, spec: Spec, *others: Spec) -> Callable[..., Any]:
        """Build once per worker what every block needs; return what is called with each block.

        A task of several inputs gets as many specs, and as many blocks.
        """
        return self

    def __call__(self, block: xr.DataArray) -> Any:
        """Work on one block, dims ``(frame, band, y, x)``; never change it in place."""
        raise NotImplementedError(f"{type(self).__name__} does not work on blocks")

    def absolute(self, folder: Path) -> Self:
        """Return the same task, with its relative paths taken from ``folder``."""
        return self

    def merged(self, following: Task) -> Task | None:
        """Return one task that does this one, then ``following``, in one pass; or None."""
        return None

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters as plain data, for people and files."""
        return self.model_dump(mode="json", exclude_defaults=False)


class ArrayTask(Task):
    """A task on bare arrays ``(frame, band, y, x)``; the labels follow from :meth:`plan`."""


class ViewTask(ArrayTask):
    """A task that only re-arranges pixels: what it returns shares its input's memory."""

    def plan(self, spec: Spec) -> Spec:
        """Predict what comes out."""
        return spec

    def view(self, pixels: Pixels) -> Pixels:
        """Return a view of ``pixels``."""
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the re-arranged block, a view."""
        frames = unlabelled(block)
        return Labels(self.plan(spec_of(block)))(frames.carrying(self.view(frames.pixels)))


Kernel = Callable[[Pixels, Pixels], object]
"""Fills its second argument from its first, both C-contiguous ``(frame, band, y, x)``."""


class PixelTask(ArrayTask):
    """A task whose frame *i* out depends on frame *i* in alone, computed without the GIL."""

    def plan(self, spec: Spec) -> Spec:
        """Predict what comes out."""
        return spec

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function for frames that are as ``spec`` says."""
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the computed block."""
        spec = spec_of(block)
        planned = self.plan(spec)
        frames = unlabelled(block)
        out = np.empty((len(frames), *planned.frame_shape), planned.dtype)
        self.kernel(spec)(np.ascontiguousarray(frames.pixels), out)
        return Labels(planned)(frames.carrying(out))


Measure = Callable[[Pixels], NDArray[Any]]
"""Returns a table of C-contiguous pixels: frames along its first axis, variables along its last."""


class Reduction(ArrayTask):
    """A task that yields by-products of each frame, no frames."""

    def plan(self, spec: Spec) -> Products:
        """Predict what comes out."""
        raise NotImplementedError

    def measure(self, spec: Spec) -> Measure:
        """Return the compiled function for frames that are as ``spec`` says.

        Its table has the planned variables, in their order, along the last axis.
        """
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.Dataset:
        """Return the by-products of a block."""
        from limadask.task.products import dataset, tabled

        spec = spec_of(block)
        planned = self.plan(spec)
        frames = unlabelled(block)
        table = self.measure(spec)(np.ascontiguousarray(frames.pixels))
        return dataset(planned, frames.numbers, tabled(planned, table))


Adder = Callable[[Pixels, Pixels], object]
"""Adds frames ``(frame, band, y, x)``, C-contiguous, to a sum ``(band, y, x)`` in place."""


class Accumulating(ArrayTask):
    """A task that makes one frame out of ``nb_frames`` successive ones.

    Frame *k* out stands for frames ``k·n ≤ i < (k + 1)·n`` in; where some of these are absent
    it is ``partial``.
    """

    nb_frames: int

    def plan(self, spec: Spec) -> Spec:
        """Predict what comes out."""
        raise NotImplementedError

    def init(self, spec: Spec) -> Pixels:
        """Return the empty sum, shape ``(band, y, x)``."""
        raise NotImplementedError

    def adder(self, spec: Spec) -> Adder:
        """Return the compiled function that adds frames to a sum, without the GIL."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Place:
    """Where and for what a sink is opened.

    Parameters
    ----------
    node:
        The sink's node.
    uuid:
        The acquisition.
    rank, ranks:
        Number of this worker among those that process, and how many these are.
    worker:
        Its name.
    """

    node: str
    uuid: str = ""
    rank: int = 0
    ranks: int = 1
    worker: str = ""


class Writer(Protocol):
    """What a sink opens on each worker that processes; called from several threads.

    One that says ``lasting = True`` can be asked for what it holds for some time after the run.
    """

    def encode(self, frames: Frames) -> Any:
        """Do the parallel part for some frames of a block; must copy what it keeps.

        What is returned may say by ``nbytes`` how much it holds; None is not written.
        """

    def write(self, encoded: list[Any]) -> Any:
        """Do the serial part for what was encoded; on return its frames are safe.

        What is returned, if anything, must be plain data; it goes with the receipt.
        """

    def close(self) -> dict[str, Any]:
        """End; return what :meth:`Sink.join` is to know of this worker's part."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What is known of a run at its end, for those who write it down.

    Parameters
    ----------
    uuid:
        The acquisition.
    state:
        ``done``, ``stopped`` or ``failed``.
    nb_frames:
        Frames of the run.
    ledger:
        What became of each.
    parameters:
        ``user``, ``hardware`` and ``software`` set as plain data.
    detector:
        What the detector said of itself, plain data.
    metadata:
        What the user gave.
    started, ended:
        UTC nanoseconds.
    workers, receivers:
        Names of the workers that process, by rank, and of those that receive.
    error:
        What went wrong, empty if nothing did.
    """

    uuid: str
    state: str
    nb_frames: int
    ledger: Ledger
    parameters: dict[str, Any]
    detector: dict[str, Any]
    metadata: dict[str, Any]
    started: int
    ended: int
    workers: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    error: str = ""


class Sink(Task):
    """A task that ends a branch: a saver or an observer."""

    def plan(self, spec: Spec) -> None:
        """Find every mistake that can be seen from the spec."""

    def path(self) -> str | None:
        """Return the absolute path of what a user opens afterwards, if anything."""
        return None

    def open(self, spec: Spec, place: Place) -> Writer:
        """Open this worker's part.

        Raises
        ------
        ConfigError
            When it cannot be opened.
        """
        raise NotImplementedError

    def recover(self, spec: Spec, place: Place, rank: int) -> list[int]:
        """Return the frame numbers that a dead worker of this rank had made safe."""
        return []

    def join(self, spec: Spec, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Make one whole of the workers' parts; called once, after all are closed."""


__all__ = [
    "Accumulating",
    "Adder",
    "ArrayTask",
    "Kernel",
    "Measure",
    "PixelTask",
    "Pixels",
    "Place",
    "Products",
    "Reduction",
    "RunRecord",
    "Sink",
    "Task",
    "Variable",
    "ViewTask",
    "Writer",
]
