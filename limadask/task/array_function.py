"""A function of bare arrays, of any library, as a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Frames, Labels, Spec, spec_of, unlabelled
from limadask.memory import FittedPool, Memory
from limadask.task.contract import Task
from limadask.task.libraries import Device, Library, library
from limadask.task.outcome import Promise, promised
from limadask.task.products import Products, Variable, dataset

Work = Callable[[xr.DataArray], xr.DataArray | xr.Dataset]
"""What is done with a block."""


class ArrayFunctionTask(Task):
    """Base of the tasks that :func:`~limadask.task` makes of functions of bare arrays."""

    function: ClassVar[Callable[..., Any]]
    arrays: ClassVar[str]
    device: ClassVar[Device]
    promise: ClassVar[Promise | None] = None

    @property
    def needs_gpu(self) -> bool:
        """Whether it works on a GPU."""
        return self.device == "gpu"

    def plan(self, spec: Spec) -> Spec | Products:
        """Predict what comes out: as promised, or by a trial on a blank frame."""
        fields = dict(self)
        if self.promise is not None:
            return promised(self.promise, spec, fields, self.task_name())
        blank = np.zeros((1, *spec.frame_shape), spec.dtype)
        try:
            result = ArrayCall(self._library(), type(self).function, fields)(blank)
        except ConfigError as error:
            if not self.needs_gpu:
                raise
            raise ConfigError(
                f"{self.task_name()} cannot be tried where the run is prepared: {error.message}",
                field="plan",
                value=None,
                allowed="say what comes out: @ld.task(…, plan=…)",
            ) from error
        except Exception as error:
            raise ConfigError(
                f"{self.task_name()} failed on a blank frame ({spec}): "
                f"{type(error).__name__}: {error}"
            ) from error
        return _described(result, spec, self.task_name())

    def setup(self, spec: Spec, *others: Spec) -> Work:
        """Find the library once for a worker."""
        found = self._library()
        allocator = found.allocator
        memory = np.empty if allocator is None else FittedPool(allocator).array
        return self._work(spec, found, memory)

    def __call__(self, block: xr.DataArray) -> xr.DataArray | xr.Dataset:
        """Call the function with the pixels of one block."""
        return self._work(spec_of(block), self._library(), np.empty)(block)

    def _work(self, spec: Spec, found: Library, memory: Memory) -> Work:
        planned, call = self.plan(spec), ArrayCall(found, self.function, dict(self), memory)

        def work(block: xr.DataArray) -> xr.DataArray | xr.Dataset:
            frames = unlabelled(block)
            return _labelled(call(np.ascontiguousarray(frames.pixels)), planned, frames)

        return work

    def _library(self) -> Library:
        return library(self.arrays, self.device)


class ArrayCall:
    """A function with its library: NumPy's arrays in, and out.

    Frames that are copied come back to ``memory``; by-products to new one, since users keep them.
    """

    def __init__(
        self,
        library: Library,
        function: Callable[..., Any],
        fields: Mapping[str, Any],
        memory: Memory = np.empty,
    ) -> None:
        self._library, self._function, self._fields = library, function, fields
        self._memory = memory

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any] | dict[str, NDArray[Any]]:
        """Return what the function makes of frames ``(frame, band, y, x)``."""
        back = self._library.back
        with self._library.working():
            result = self._function(self._library.given(pixels), **self._fields)
            if isinstance(result, Mapping):
                return {str(name): back(one) for name, one in result.items()}
            return back(result, self._memory)


def _described(result: Any, spec: Spec, name: str) -> Spec | Products:
    """Return what a trial on one frame shows."""
    if isinstance(result, dict):
        for key, one in result.items():
            if one.ndim < 1 or len(one) != 1:
                raise ConfigError(f"by-product {key!r} of {name} must have an entry for each frame")
        variables = {key: Variable(_dims(key, one, spec), one.dtype) for key, one in result.items()}
        sizes = {
            dim: size
            for key, one in result.items()
            for dim, size in zip(variables[key].dims, one.shape[1:], strict=True)
        }
        labels: dict[str, Any] = {dim: np.arange(size) for dim, size in sizes.items()}
        if "band" in labels:
            labels["band"] = list(spec.bands)
        return Products(variables, {dim: ((dim,), values) for dim, values in labels.items()})
    if result.shape == (1, *spec.frame_shape):
        return spec.replace(dtype=result.dtype)
    raise ConfigError(
        f"{name} must return frames of the shape it gets, {spec.frame_shape}, or by-products by "
        f"name; it returned {result.shape[1:]}: where these are other frames, say so by plan=…"
    )


def _dims(key: str, one: NDArray[Any], spec: Spec) -> tuple[str, ...]:
    """Return names for the dimensions of a by-product after ``frame``."""
    has_bands = one.ndim > 1 and one.shape[1] == len(spec.bands)
    first = ("band",) if has_bands else ()
    return first + tuple(f"{key}_{axis}" for axis in range(1 + len(first), one.ndim))


def _labelled(result: Any, planned: Spec | Products, frames: Frames) -> xr.DataArray | xr.Dataset:
    if isinstance(planned, Spec):
        if isinstance(result, dict):
            raise TypeError(f"planned frames and returned by-products: {sorted(result)}")
        return Labels(planned)(frames.carrying(result))
    if not isinstance(result, dict):
        raise TypeError("planned by-products and returned an array")
    if missing := planned.variables.keys() - result.keys():
        raise ValueError(f"planned the by-products {sorted(missing)}, returned {sorted(result)}")
    return dataset(planned, frames.numbers, result)
