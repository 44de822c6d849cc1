"""A function of a shared library as a task."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.native import abi
from limadask.native.function import NativeFunction
from limadask.native.library import function, load
from limadask.task import ArrayTask, Kernel, Measure, PixelTask, Products, Reduction
from limadask.task.function import model_of
from limadask.task.outcome import Promise, kept, promised, yields_products
from limadask.task.products import sizes_of

TABLE = np.dtype(np.float64)
"""What compiled reductions fill."""


class NativeTask(ArrayTask):
    """What the tasks that :func:`native_task` makes have in common."""

    function: ClassVar[str]
    promise: ClassVar[Promise]

    library: str
    """The shared library, an absolute path once the task is in a pipeline."""

    @model_validator(mode="after")
    def _for_c(self) -> Self:
        abi.Parameters(self.parameters)
        return self

    @property
    def parameters(self) -> dict[str, Any]:
        """What the function gets, by name."""
        return {name: value for name, value in self if name != "library"}

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute path."""
        return self.replace(library=str(folder / self.library))

    def effective(self, spec: Spec) -> dict[str, Any]:
        """Return the parameters as plain data, and which function it is."""
        return {"function": self.function, **super().effective(spec)}

    def check(self) -> None:
        """Load the library, and find the function."""
        function(load(self.library), self.function, self.library)

    def _outcome(self, spec: Spec) -> Spec | Products:
        return promised(self.promise, spec, self.parameters, self.task_name())

    def _compiled(self, spec: Spec, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NativeFunction:
        """Return the function, tried on a blank frame."""
        made = NativeFunction(self.library, self.function, self.parameters, spec, shape, dtype)
        blank = np.zeros((1, *spec.frame_shape), spec.dtype)
        try:
            made(blank, np.zeros((1, *shape), dtype), np.zeros(1, np.int64))
        except RuntimeError as error:
            raise ConfigError(
                f"{self.function} failed on a blank frame ({spec}): {error}"
            ) from error
        return made


class NativeFrames(NativeTask, PixelTask):
    """Base of compiled functions that yield frames; pixels that are masked are filled for them."""

    numbered: ClassVar[bool] = True

    def plan(self, spec: Spec) -> Spec:
        """Predict what comes out."""
        outcome = self._outcome(spec)
        if not isinstance(outcome, Spec):
            raise TypeError(f"{self.task_name()} must yield frames")
        return outcome

    def kernel(self, spec: Spec) -> Kernel:
        """Return the compiled function."""
        planned = self.plan(spec)
        run = self._compiled(spec, planned.frame_shape, planned.dtype)
        masked, fill = planned.masked, planned.fill
        if masked is None:
            return run

        def filled(pixels: NDArray[Any], out: NDArray[Any], numbers: NDArray[np.int64]) -> None:
            run(pixels, out, numbers)
            np.copyto(out, fill, where=masked)

        return filled


class NativeProducts(NativeTask, Reduction):
    """Base of compiled functions that yield by-products."""

    numbered: ClassVar[bool] = True

    def plan(self, spec: Spec) -> Products:
        """Predict what comes out."""
        outcome = self._outcome(spec)
        if not isinstance(outcome, Products):
            raise TypeError(f"{self.task_name()} must yield by-products")
        self._dims(outcome)
        return outcome

    def measure(self, spec: Spec) -> Measure:
        """Return the compiled function; its table holds zeros before."""
        planned = self.plan(spec)
        sizes = sizes_of(planned)
        shape = *(sizes[dim] for dim in self._dims(planned)), len(planned.variables)
        padded = shape[:-1] + (1,) * (3 - len(shape)) + shape[-1:]
        run = self._compiled(spec, padded, TABLE)

        def measure(pixels: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[Any]:
            table = np.zeros((len(pixels), *padded))
            run(pixels, table, numbers)
            return table.reshape(len(pixels), *shape)

        return measure

    def _dims(self, planned: Products) -> tuple[str, ...]:
        """Return the dimensions of a table between frame and variable."""
        found = {one.dims for one in planned.variables.values()}
        sizes = sizes_of(planned)
        if len(found) == 1 and all(map(sizes.__contains__, dims := found.pop())) and len(dims) < 3:
            return dims
        raise ConfigError(
            f"{self.task_name()} cannot yield these by-products as one table",
            field="plan",
            value={name: one.dims for name, one in planned.variables.items()},
            allowed="the same dims for all, at most two besides frame, each with coordinates",
        )


def native_task(
    library: str | Path,
    function: str,
    *,
    plan: Promise,
    parameters: Mapping[str, Any] | None = None,
    doc: str = "",
) -> type[NativeFrames | NativeProducts]:
    """Make a task of a compiled function that keeps the interface of ``limadask.h``.

    It is called without the GIL, with the memory that the frames lie in. A crash in it ends the
    worker.

    Parameters
    ----------
    library:
        The shared library, on every worker; a relative path is taken from the current folder when
        the task is added to a pipeline, or from the folder of the YAML file.
    function:
        The exported function; it is the name of the task as well.
    plan:
        What comes out: ``"same"``, frames as they come in; a dtype, the same frames of this type;
        by-products, name to :class:`~limadask.Variable` or to the dtype of one value for each band;
        or a function of the spec and the parameters that returns a :class:`~limadask.Spec` or, as
        its annotation says, :class:`~limadask.Products`.
    parameters:
        Fields of the task, which the function gets: name to type, or to ``(type, default)``.
        Values are numbers, truth values, texts, None and lists of numbers.
    doc:
        What the task does, in a sentence.

    Raises
    ------
    ConfigError
        When a parameter's name is not free.

    Examples
    --------
    >>> clip = native_task("libmine.so", "clip", plan="uint8", parameters={"top": (int, 255)})
    >>> clip(top=100)
    clip(library='libmine.so', top=100)
    """
    base: type[NativeFrames | NativeProducts]
    base = NativeProducts if yields_products(plan) else NativeFrames
    fields: dict[str, Any] = {"library": (str, str(library))}
    for name, one in (parameters or {}).items():
        if hasattr(base, name) or name in base.model_fields:
            raise ConfigError(
                f"a parameter of {function} has a name that the task uses itself",
                field="parameters", value=name, allowed="another name",
            )  # fmt: skip
        fields[name] = one if isinstance(one, tuple) else (one, ...)
    caller = inspect.stack(0)[1].frame.f_globals  # where workers may find it, too
    module = caller.get("__name__", __name__)
    model = model_of(function, base, module, doc or base.__doc__, fields)
    model.function, model.promise = function, kept(plan)
    return model
