"""By-products as labelled arrays, and as the bytes that travel in a receipt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.frames import Spec
from limadask.geometry import grid_coordinates

if TYPE_CHECKING:
    from limadask.task.running import Running

Values = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a by-product: what a task yields besides frames.

    Parameters
    ----------
    dims:
        Dimensions after ``frame``; one of varying length stands in its place.
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
    units:
        Units of the labels that have any, by name.
    ragged:
        Dimensions whose length varies from frame to frame, such as ``peak``: name to the variable
        that tells how long it is in each frame. All frames' rows follow one another along it, as
        in a contiguous ragged array of the CF conventions 1.11, § 9.3.3.
    of:
        The frames that they are of; known as soon as the pipeline is planned.
    running:
        The task that makes one result of the whole run, without the dimension ``frame``; None
        where there is one for each frame.
    """

    variables: Mapping[str, Variable]
    coordinates: Mapping[str, tuple[tuple[str, ...], Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    ragged: Mapping[str, str] = field(default_factory=dict)
    of: Spec | None = None
    running: Running | None = None

    def dims(self, name: str) -> tuple[str, ...]:
        """Return all dimensions of a variable."""
        dims = self.variables[name].dims
        if self.running is not None or self.ragged_dim(name):
            return dims
        return ("frame", *dims)

    def ragged_dim(self, name: str) -> str | None:
        """Return the dimension of varying length that a variable has in place of ``frame``."""
        first = self.variables[name].dims[:1]
        return first[0] if first and first[0] in self.ragged else None

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the lengths of all dimensions of a variable but the first."""
        sizes = {dims[0]: len(labels) for dims, labels in self.coordinates.values() if dims}
        return tuple(sizes.get(dim, 0) for dim in self.dims(name)[1:])


def dataset(products: Products, numbers: NDArray[np.int64], values: Values) -> xr.Dataset:
    """Label by-products: dims ``(frame, …)``, or ``(peak, …)`` where their number varies.

    Those of a whole run have the dims ``(…)``, and the coordinates of the detector.

    Parameters
    ----------
    products:
        What the reduction's ``plan`` promised.
    numbers:
        Frame numbers, shape ``(frame,)``.
    values:
        Name to array ``(frame, …)``.
    """
    variables = {
        name: (products.dims(name), values[name], {"units": variable.units})
        for name, variable in products.variables.items()
    }
    numbered = {} if products.running is not None else {"frame": numbers}
    labelled = xr.Dataset(variables, {**numbered, **products.coordinates})
    if products.of is not None and "y" in labelled.dims:
        labelled = labelled.assign_coords(grid_coordinates(products.of.grid))
    for name, units in products.units.items():
        labelled[name].attrs["units"] = units
    for dim, count in products.ragged.items():
        labelled[count].attrs["sample_dimension"] = dim
    return labelled


def as_dataset(returned: Any) -> xr.Dataset:
    """Return by-products that a user's function has returned: a dataset, or what makes one."""
    return returned if isinstance(returned, xr.Dataset) else xr.Dataset(returned)


def checked(products: Products, numbers: NDArray[np.int64], returned: Any) -> Values:
    """Return by-products, held against what was planned.

    Raises
    ------
    ValueError
        Where they differ.
    """
    found, values = as_dataset(returned), {}
    if "frame" in found.coords and not np.array_equal(found["frame"], numbers):
        raise ValueError("by-products must be those of the frames given, in their order")
    for name in products.variables:
        if name not in found:
            raise ValueError(f"planned the by-product {name!r}, returned {list(found)}")
    for name, variable in products.variables.items():
        one, length = found[name], len(numbers)
        if dim := products.ragged_dim(name):
            length = int(found[products.ragged[dim]].sum())
        planned = products.dims(name), (length, *products.shape(name))
        if (one.dims, one.shape, one.dtype) != (*planned, variable.dtype):
            raise ValueError(
                f"planned the by-product {name!r} {dict(zip(*planned, strict=True))} "
                f"{variable.dtype}, returned {dict(one.sizes)} {one.dtype}"
            )
        values[name] = one.values
    return values


def tabled(products: Products, table: NDArray[Any] | Values) -> Values:
    """Name the columns, along the last axis, of what a reduction measured, if it has not."""
    if isinstance(table, dict):
        return table
    return {
        name: table[..., column].astype(variable.dtype)
        for column, (name, variable) in enumerate(products.variables.items())
    }


def sizes_of(products: Products) -> dict[str, int]:
    """Return the size of each labelled dimension."""
    return {dims[0]: len(labels) for dims, labels in products.coordinates.values() if dims}


def empty(products: Products) -> Values:
    """Return by-products of no frame at all, for a run that has just begun."""
    return {
        name: np.zeros((0, *products.shape(name)), variable.dtype)
        for name, variable in products.variables.items()
    }


def chosen(products: Products, values: Values, frames: NDArray[np.intp]) -> Values:
    """Return the by-products of the frames at some places, in the order of these."""
    return {name: one[_places(products, values, name, frames)] for name, one in values.items()}


def _places(
    products: Products, values: Values, name: str, frames: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return where a variable's values of some frames are."""
    if (dim := products.ragged_dim(name)) is None:
        return frames
    counts = values[products.ragged[dim]].astype(np.intp)
    starts, lengths = np.cumsum(counts) - counts, counts[frames]
    moved = starts[frames] - (np.cumsum(lengths) - lengths)
    return np.repeat(moved, lengths) + np.arange(lengths.sum())


def stacked(parts: Sequence[Values]) -> Values:
    """Return several blocks' by-products one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
