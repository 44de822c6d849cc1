"""By-products as labelled arrays, and as the bytes that travel in a receipt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Values = dict[str, NDArray[np.generic]]


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
    units:
        Units of the labels that have any, by name.
    """

    variables: Mapping[str, Variable]
    coordinates: Mapping[str, tuple[tuple[str, ...], Any]] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def dataset(products: Products, numbers: NDArray[np.int64], values: Values) -> xr.Dataset:
    """Label by-products: dims ``(frame, …)``, one variable each.

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
        name: ((("frame", *variable.dims)), values[name], {"units": variable.units})
        for name, variable in products.variables.items()
    }
    labelled = xr.Dataset(variables, {"frame": numbers, **products.coordinates})
    for name, units in products.units.items():
        labelled[name].attrs["units"] = units
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
    sizes = {dims[0]: len(labels) for dims, labels in products.coordinates.values() if dims}
    for name, variable in products.variables.items():
        if name not in found:
            raise ValueError(f"planned the by-product {name!r}, returned {list(found)}")
        one = found[name]
        planned = ("frame", *variable.dims), (len(numbers), *map(sizes.get, variable.dims))
        if (one.dims, one.shape, one.dtype) != (*planned, variable.dtype):
            raise ValueError(
                f"planned the by-product {name!r} {dict(zip(*planned, strict=True))} "
                f"{variable.dtype}, returned {dict(one.sizes)} {one.dtype}"
            )
        values[name] = one.values
    return values


def tabled(products: Products, table: NDArray[Any]) -> Values:
    """Name the columns, along the last axis, of what a reduction measured."""
    return {
        name: table[..., column].astype(variable.dtype)
        for column, (name, variable) in enumerate(products.variables.items())
    }


def empty(products: Products) -> Values:
    """Return by-products of no frame at all, for a run that has just begun."""
    sizes = {dims[0]: len(labels) for dims, labels in products.coordinates.values() if dims}
    return {
        name: np.zeros((0, *(sizes.get(dim, 0) for dim in variable.dims)), variable.dtype)
        for name, variable in products.variables.items()
    }


def stacked(parts: Sequence[Values]) -> Values:
    """Return several blocks' by-products one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
