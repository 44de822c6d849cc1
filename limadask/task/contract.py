"""The contract of a task: a frozen value that plans, then works on blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Frames, Labels, Spec, Status, spec_of, unlabelled
from limadask.geometry import Rect
from limadask.model import Model
from limadask.task.products import Products, Values, dataset, tabled

Pixels = NDArray[Any]


class Task(Model):
    """One node of a pipeline.

    A task is a value: two with equal fields are equal, and nothing about it changes during a run.
    """

    nb_inputs: ClassVar[int] = 1
    """Nodes it gets frames from."""
    takes_sparse: ClassVar[bool] = False
    """Whether it can work on sparse frames; others are never given any."""

    @property
    def needs_gpu(self) -> bool:
        """Whether it works on a GPU: all of the pipeline is processed where there are some then."""
        return False

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

        A task of several inputs gets as many specs, and as many blocks. Where what is returned has
        a method ``close``, it is called once no block comes any more.
        """
        return self

    def __call__(self, block: xr.DataArray) -> Any:
        """Work on one block, dims ``(frame, band, y, x)``; never change it in place."""
        raise NotImplementedError(f"{type(self).__name__} does not work on blocks")

    def absolute(self, folder: Path) -> Self:
        """Return the same task, with its relative paths taken from ``folder``."""
        return self

    def for_part(self, whole: Spec, region: Rect) -> Task:
        """Return what does to a part of the image what this one does to all of it.

        A task that treats all pixels alike is itself that.

        Parameters
        ----------
        whole:
            The full frames that it would get.
        region:
            The part, in pixels of these.

        Raises
        ------
        ConfigError
            When there is nothing to be done for this part.
        """
        return self

    def merged(self, following: Task) -> Task | None:
        """Return one task that does this one, then ``following``, in one pass; or None."""
        return None

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters as plain data, for people and files."""
        return self.model_dump(mode="json", exclude_defaults=False)


class Assembling(Task):
    """Puts parts of frames together, each received by another worker.

    The engine does so in front of ``input`` where it finds such a task in the pipeline; the task
    itself hands full frames on as they are.
    """

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the block."""
        return block


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


Convert = Callable[[Frames], Frames]
"""Returns the same frames, kept in another way."""


class Conversion(ArrayTask):
    """A task that changes how frames are kept: all their pixels, or only some."""

    def plan(self, spec: Spec) -> Spec:
        """Predict what comes out."""
        raise NotImplementedError

    def convert(self, spec: Spec) -> Convert:
        """Return the compiled function for frames that are as ``spec`` says."""
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the converted block."""
        spec = spec_of(block)
        return Labels(self.plan(spec))(self.convert(spec)(unlabelled(block)))


Kernel = Callable[..., object]
"""Fills its second argument from its first, both C-contiguous ``(frame, band, y, x)``."""


class PixelTask(ArrayTask):
    """A task whose frame *i* out depends on frame *i* in alone, computed without the GIL."""

    numbered: ClassVar[bool] = False
    """Whether the kernel gets the frame numbers, int64 ``(frame,)``, as one more argument."""
    in_place: ClassVar[bool] = False
    """Whether the kernel gives the same when both arguments are the same memory: each pixel depends
    on the pixel of its own place alone. It is given such where shape and type stay as they are and
    nobody else needs the input."""

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
        numbers = (frames.numbers,) if self.numbered else ()
        self.kernel(spec)(np.ascontiguousarray(frames.pixels), out, *numbers)
        return Labels(planned)(frames.carrying(out))


Measure = Callable[..., NDArray[Any] | Values]
"""Returns a table of C-contiguous pixels: frames along its first axis, variables along its last; or
the variables by name, where their shapes differ."""


class Reduction(ArrayTask):
    """A task that yields by-products of each frame, no frames."""

    numbered: ClassVar[bool] = False
    """Whether the compiled function gets the frame numbers as well, as in :class:`PixelTask`."""

    def plan(self, spec: Spec) -> Products:
        """Predict what comes out."""
        raise NotImplementedError

    def measure(self, spec: Spec) -> Measure:
        """Return the compiled function for frames that are as ``spec`` says.

        Its table has the planned variables, in their order, along the last axis.
        """
        raise NotImplementedError

    def lacking(self, measure: Measure, spec: Spec) -> Measure:
        """Return the function for frames that lack some pixels, all of them in ``spec.masked``.

        ``measure`` is that for whole frames: what is dear to make can be taken from it. The table
        must keep to what was planned for these.
        """
        return self.measure(spec)

    def __call__(self, block: xr.DataArray) -> xr.Dataset:
        """Return the by-products of a block."""
        spec = spec_of(block)
        planned, frames = self.plan(spec), unlabelled(block)
        numbers = (frames.numbers,) if self.numbered else ()
        table = self.measure(spec)(np.ascontiguousarray(frames.pixels), *numbers)
        return dataset(planned, frames.numbers, tabled(planned, table))


Judge = Callable[[Frames], NDArray[np.bool_]]
"""Tells which of some frames, their pixels C-contiguous, are to be kept, shape ``(frame,)``."""


class Veto(ArrayTask):
    """A task that lets frames through and tells which of them are not worth keeping.

    A vetoed frame goes on like any other; sinks that say so leave it out. In the ledger it is
    ``vetoed``, cause ``veto:<node>``.
    """

    def plan(self, spec: Spec) -> Spec:
        """Predict what comes out: the same frames."""
        return spec

    def judge(self, spec: Spec) -> Judge:
        """Return the function that judges frames that are as ``spec`` says."""
        raise NotImplementedError

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return the block with the status ``vetoed`` where it applies."""
        frames = unlabelled(block)
        frames.pixels = np.ascontiguousarray(frames.pixels)
        kept = self.judge(spec_of(block))(frames)
        status = np.where(kept, frames.status, np.uint8(Status.VETOED))
        return block.assign_coords(status=("frame", status))


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
