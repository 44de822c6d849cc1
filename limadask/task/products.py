"""By-products as labelled arrays, and as the bytes that travel in a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.task.contract import Products

Values = dict[str, NDArray[np.generic]]


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
    return xr.Dataset(variables, {"frame": numbers, **products.coordinates})


def tabled(products: Products, table: NDArray[Any]) -> Values:
    """Name the columns, along the last axis, of what a reduction measured."""
    return {
        name: table[..., column].astype(variable.dtype)
        for column, (name, variable) in enumerate(products.variables.items())
    }


def empty(products: Products) -> Values:
    """Return by-products of no frame at all, for a run that has just begun."""
    sizes = {dims[0]: len(labels) for dims, labels in products.coordinates.values()}
    return {
        name: np.zeros((0, *(sizes.get(dim, 0) for dim in variable.dims)), variable.dtype)
        for name, variable in products.variables.items()
    }


def stacked(parts: Sequence[Values]) -> Values:
    """Return several blocks' by-products one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
