"""A plain function as a task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, get_type_hints, overload

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import create_model

from limadask.errors import ConfigError
from limadask.frames import DIMS, Frames, Labels, Spec, spec_of
from limadask.geometry import Grid  # noqa: F401 - for the example
from limadask.task.array_function import ArrayFunctionTask
from limadask.task.contract import Judge, Task, Veto
from limadask.task.libraries import Device
from limadask.task.outcome import Promise, kept
from limadask.task.products import Products, Variable, as_dataset

_B = TypeVar("_B", bound=Task)


class FunctionTask(Task):
    """Base of the tasks that :func:`task` makes; its plan is a trial on one blank frame."""

    takes_sparse: ClassVar[bool] = True
    function: ClassVar[Callable[..., Any]]

    def __call__(self, block: xr.DataArray) -> Any:
        """Call the function."""
        return type(self).function(block, **dict(self))

    def plan(self, spec: Spec) -> Spec | Products:
        """Try the function on a blank frame and see what comes out."""
        try:
            result = self(Labels(spec)(Frames.blank(spec)))
        except Exception as error:
            raise ConfigError(
                f"{self.task_name()} failed on a blank frame ({spec}): "
                f"{type(error).__name__}: {error}"
            ) from error
        if isinstance(result, xr.Dataset | Mapping):
            return _products(as_dataset(result), self.task_name())
        if isinstance(result, xr.DataArray) and set(result.dims) == set(DIMS):
            return spec_of(result, like=spec)
        kind = getattr(result, "dims", type(result).__name__)
        raise ConfigError(
            f"{self.task_name()} must return a DataArray with dims {DIMS}, or a Dataset with dim "
            f"'frame' for by-products; it returned {kind}"
        )


@overload
def task(function: Callable[..., Any], /) -> type[FunctionTask]: ...
@overload
def task(
    *, arrays: str, device: Device = "cpu", plan: Promise | None = None
) -> Callable[[Callable[..., Any]], type[ArrayFunctionTask]]: ...
def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    arrays: str = "numpy",
    device: Device = "cpu",
    plan: Promise | None = None,
) -> Any:
    """Make a task of a function whose first argument is a block; the others are its fields.

    Used alone, the function gets a labelled block, dims ``(frame, band, y, x)``, and returns one,
    or an :class:`xarray.Dataset` of by-products with dim ``frame``. Tables of any length a frame
    have a dim of their own, all frames' rows one after the other, and a variable ``(frame)`` that
    counts them and names that dim in its attribute ``sample_dimension``.

    With ``arrays`` it gets bare
    pixels and returns such, of the same shape, or by-products by name, each with an entry for each
    frame first.

    Parameters
    ----------
    arrays:
        The library of the arrays: ``numpy``, ``torch``, ``cupy``, or another module that follows
        the Python array API standard.
    device:
        ``gpu`` for workers with the Dask resource ``GPU``; ``cupy`` and ``torch`` can.
    plan:
        What comes out, as in :func:`~limadask.native_task`; without it the function is tried on a
        blank frame, where the run is prepared.

    Examples
    --------
    >>> @task
    ... def gain(block: xr.DataArray, factor: float = 2.0) -> xr.DataArray:
    ...     return block * factor
    >>> gain(factor=3.0)
    gain(factor=3.0)
    >>> @task(arrays="numpy")
    ... def brightest(frames: Any) -> Any:
    ...     return {"brightest": frames.max(axis=(2, 3))}
    >>> brightest().plan(Spec(Grid((4, 4)), np.dtype("u2"))).variables["brightest"].dims
    ('band',)
    """
    if function is not None:
        return made(function, FunctionTask)

    def decorated(function: Callable[..., Any]) -> type[ArrayFunctionTask]:
        task = made(function, ArrayFunctionTask)
        task.arrays, task.device = arrays, device
        task.promise = None if plan is None else kept(plan)
        return task

    return decorated


class FunctionVeto(Veto):
    """Base of the tasks that :func:`veto` makes."""

    function: ClassVar[Callable[..., Any]]

    def plan(self, spec: Spec) -> Spec:
        """Try the function on a blank frame; what comes out is what came in."""
        blank = Frames.of(np.zeros((1, *spec.frame_shape), spec.dtype))
        try:
            self.judge(spec)(blank)
        except Exception as error:
            raise ConfigError(
                f"{self.task_name()} failed on a blank frame ({spec}): "
                f"{type(error).__name__}: {error}"
            ) from error
        return spec

    def judge(self, spec: Spec) -> Judge:
        """Return the function, called with labelled frames."""
        labels, fields = Labels(spec), dict(self)

        def judge(frames: Frames) -> NDArray[np.bool_]:
            frames = frames.carrying(frames.pixels.view())
            frames.pixels.flags.writeable = False  # others read the same memory
            kept = np.asarray(type(self).function(labels(frames), **fields))
            if kept.shape != (len(frames),) or kept.dtype != bool:
                raise ValueError(
                    f"{self.task_name()} must return one truth value for each of the "
                    f"{len(frames)} frames; it returned {kept.dtype} {kept.shape}"
                )
            return kept

        return judge


def veto(function: Callable[..., Any]) -> type[FunctionVeto]:
    """Make a veto of a function that tells which frames of a block to keep.

    The function gets a block, dims ``(frame, band, y, x)``, and returns a truth value for each
    frame: True keeps it. Its other arguments are the task's fields.

    Examples
    --------
    >>> @veto
    ... def bright(block: xr.DataArray, least: float = 10.0) -> xr.DataArray:
    ...     return block.mean(("band", "y", "x")) >= least
    >>> bright(least=3.0)
    bright(least=3.0)
    """
    return made(function, FunctionVeto)


def made(function: Callable[..., Any], base: type[_B], skipped: int = 1) -> type[_B]:
    """Make a model of a function: its arguments after the first are the fields.

    Raises
    ------
    ConfigError
        When an argument has the name of a field that the base has already.
    """
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    if taken := [one.name for one in parameters if one.name in base.model_fields]:
        raise ConfigError(
            f"{function.__name__} has an argument whose name is a field of every {base.__name__}",
            field=taken[0],
            value=taken[0],
            allowed="another name",
        )
    try:
        hints = get_type_hints(function)
    except NameError:  # annotations that only a type checker can see
        hints = {}
    fields: dict[str, Any] = {
        one.name: (
            hints.get(one.name, Any),
            ... if one.default is inspect.Parameter.empty else one.default,
        )
        for one in parameters
    }
    model = model_of(function.__name__, base, function.__module__, function.__doc__, fields)
    model.__qualname__ = function.__qualname__
    model.function = staticmethod(function)  # type: ignore[attr-defined]
    return model


def model_of(
    name: str, base: type[_B], module: str, doc: str | None, fields: dict[str, Any]
) -> type[_B]:
    """Make a model: name to ``(type, default)``."""
    model: Any = create_model(name, __base__=base, __module__=module, __doc__=doc, **fields)
    made: type[_B] = model
    return made


def _products(result: xr.Dataset, name: str) -> Products:
    ragged = {
        str(variable.attrs["sample_dimension"]): str(key)
        for key, variable in result.data_vars.items()
        if "sample_dimension" in variable.attrs
    }
    for key, variable in result.data_vars.items():
        if not variable.dims or variable.dims[0] not in ("frame", *ragged):
            raise ConfigError(
                f"by-product {key!r} of {name} must have 'frame' as its first dim, or the "
                "'sample_dimension' of another"
            )
    variables = {
        str(key): Variable(
            tuple(map(str, variable.dims[variable.dims[0] == "frame" :])),
            variable.dtype,
            variable.attrs.get("units", ""),
        )
        for key, variable in result.data_vars.items()
    }
    coordinates = {
        str(key): (tuple(map(str, value.dims)), value.values)
        for key, value in result.coords.items()
        if not {"frame", "y", "x", *ragged} & set(value.dims)
    }
    for dim in (dim for variable in variables.values() for dim in variable.dims):
        if dim not in ragged:  # its size is promised
            coordinates.setdefault(dim, ((dim,), np.arange(result.sizes[dim])))
    return Products(variables, coordinates, ragged=ragged)
