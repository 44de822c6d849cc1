"""By-products of an acquisition that still grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from limadask.storage.product_entry import VALUES, products_of
from limadask.task import Products


def opened(path: str | Path) -> h5py.File:
    """Open a file that another process may be appending to."""
    return h5py.File(path, "r", libver="latest", swmr=True)


class Piece(Protocol):
    """What one file has of an entry by now."""

    @property
    def path(self) -> str:
        """The file."""

    @property
    def name(self) -> str:
        """The entry."""

    @property
    def origin(self) -> dict[str, Any]:
        """What the entry says of itself."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Frames that are there."""


def growing_products(pieces: Sequence[Piece], count: int) -> xr.Dataset:
    """Return by-products of ``count`` frames as the master will show them.

    Where a frame has not come there is NaN, and it has no rows in tables.
    """
    products = products_of(pieces[0].origin)
    values = {name: _values(pieces, products, name, count) for name in products.variables}
    found = {
        name: (products.dims(name), one, {"units": products.variables[name].units})
        for name, one in values.items()
    }
    made = xr.Dataset(found, dict(products.coordinates))
    for dim, counted in products.ragged.items():
        made[counted].attrs["sample_dimension"] = dim
    return made


def _values(pieces: Sequence[Piece], products: Products, name: str, count: int) -> NDArray[Any]:
    """Return all values of a variable."""
    dtype = products.variables[name].dtype
    if (dim := products.ragged_dim(name)) is not None:
        return _rows(pieces, name, products.ragged[dim], products.shape(name), dtype)
    is_count = name in products.ragged.values()  # a frame that has not come has no rows
    kind = dtype if dtype.kind == "f" or is_count else np.dtype("f8")
    values = np.full((count, *products.shape(name)), 0 if is_count else np.nan, kind)
    for piece in pieces:
        with opened(piece.path) as file:
            values[piece.numbers] = _column(file, piece, name)[: len(piece.numbers)]
    return values


def _rows(
    pieces: Sequence[Piece], name: str, counted: str, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the rows of all frames, in the order of these; none of them twice."""
    owners, rows = [np.empty(0, np.int64)], [np.empty((0, *shape), dtype)]
    known = np.empty(0, np.int64)
    for piece in reversed(pieces):  # of a frame that two have saved the last counts, as elsewhere
        with opened(piece.path) as file:
            counts = _column(file, piece, counted)[: len(piece.numbers)].astype(np.int64)
            values = _column(file, piece, name)[: int(counts.sum())]
        is_new = np.repeat(~np.isin(piece.numbers, known), counts)
        owners.append(np.repeat(piece.numbers, counts)[is_new])
        rows.append(values[is_new])
        known = np.union1d(known, piece.numbers)
    order = np.argsort(np.concatenate(owners), kind="stable")
    return np.concatenate(rows)[order].astype(dtype, copy=False)


def _column(file: h5py.File, piece: Piece, name: str) -> h5py.Dataset:
    return file[f"{piece.name}/{VALUES}/{name}"]
