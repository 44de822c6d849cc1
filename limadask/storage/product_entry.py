"""An entry of a data file with by-products: a row for each frame, or for each of its peaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Affine, Grid
from limadask.storage.entry import ENTRY, ROWS, Entry, describe, make_table
from limadask.task import Place, Products, Rows, Variable, chosen

VALUES = f"{ROWS}/values"
"""The variables, within an entry."""
TAKEN = "frame", "frame_status", "frame_cause", "timestamp"
"""Names of what a master tells of each frame."""
CHUNK = 1 << 16
"""Bytes of a chunk, if a row is smaller."""


class ProductEntry(Entry[Rows]):
    """By-products.

    Parameters
    ----------
    group:
        The entry.
    layout:
        What it was made for.
    """

    def __init__(self, group: h5py.Group, layout: ProductLayout) -> None:
        super().__init__(group)
        self._products = layout.products
        self._values = {name: group[f"{VALUES}/{name}"] for name in layout.products.variables}

    def _append(self, part: Rows, places: slice) -> None:
        rows = np.arange(places.start, places.stop)
        for name, values in chosen(self._products, part.values, rows).items():
            dataset = self._values[name]
            first, last = len(dataset), len(dataset) + len(values)
            dataset.resize(last, axis=0)
            if last > first:
                dataset[first:last] = values.astype(dataset.dtype, copy=False)

    def _flush(self) -> None:
        for dataset in self._values.values():
            dataset.flush()


@dataclass(frozen=True, slots=True, eq=False)
class ProductLayout:
    """What an entry with by-products is made for.

    Parameters
    ----------
    products:
        The by-products, and the frames that they are of.
    place:
        The acquisition and its node.
    name:
        Name of the entry.
    """

    products: Products
    place: Place = field(default_factory=lambda: Place(""))
    name: str = ENTRY

    def opened(self, group: h5py.Group) -> ProductEntry:
        """Return it, to be appended to."""
        return ProductEntry(group, self)

    def make(self, group: h5py.Group) -> None:
        """Make all that it consists of, without frames."""
        products = self.products
        for name, variable in products.variables.items():
            dtype, shape = stored_dtype(variable.dtype), products.shape(name)
            row = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
            dataset = group.create_dataset(
                f"{VALUES}/{name}", (0, *shape), dtype, maxshape=(None, *shape),
                chunks=(max(1, CHUNK // row), *(max(1, size) for size in shape)),
                fillvalue=fill_of(products, name),
            )  # fmt: skip
            dataset.attrs.update(units=variable.units, dims=list(products.dims(name)))
        for dim, count in products.ragged.items():
            group[f"{VALUES}/{count}"].attrs["sample_dimension"] = dim
        make_table(group, ROWS)
        group[ROWS].attrs["NX_class"] = group["instrument"].attrs["NX_class"] = "NXcollection"
        group[VALUES].attrs.update(NX_class="NXdata", signal=next(iter(products.variables)))
        group.attrs["default"] = VALUES
        describe(group, self.place, {"products": _as_plain(products)})


def check_products(products: Products) -> None:
    """Refuse by-products that HDF5 cannot hold, or that nobody could find again.

    Raises
    ------
    ConfigError
        Naming the variable.
    """
    if products.running is None and all(map(products.ragged_dim, products.variables)):
        raise _refused("no variable has a value for each frame", list(products.variables), None)
    for name, variable in products.variables.items():
        if variable.dtype.kind not in "biuf":
            raise _refused(f"the by-product {name!r} is no number", str(variable.dtype), "numbers")
        for dim in (dim for dim in variable.dims if dim not in products.ragged):
            if dim in ("y", "x") and products.running is not None:  # those of the frames
                continue
            if not any(dims == (dim,) for dims, _ in products.coordinates.values()):
                raise _refused(f"{name!r} has a dimension without labels", dim, "labelled ones")
    for name in {**products.variables, **products.coordinates, **products.ragged}:
        if name in TAKEN or "/" in name or not name.strip("."):
            raise _refused("a by-product cannot have this name", name, f"not {', '.join(TAKEN)}")


def _refused(text: str, value: object, allowed: object) -> ConfigError:
    return ConfigError(text, field="after", value=value, allowed=allowed)


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return how a type of values is saved: truth values as bytes."""
    return np.dtype("u1") if dtype.kind == "b" else dtype


def fill_of(products: Products, name: str) -> Any:
    """Return what a variable reads as where a frame is absent; it has no rows, then."""
    dtype = stored_dtype(products.variables[name].dtype)
    if name in products.ragged.values():
        return np.zeros((), dtype)[()]
    if dtype.kind in "iu":
        return np.array(np.iinfo(dtype).max, dtype)[()]
    return np.array(np.nan, dtype)[()]


def rows_of_products(entry: h5py.Group) -> int:
    """Return how many frames are there with all their by-products."""
    values = entry[VALUES]
    told = [one for one in entry[ROWS].values() if isinstance(one, h5py.Dataset)]
    framewise = [one for one in values.values() if one.attrs["dims"][0] == "frame"]
    rows = min(len(one) for one in told + framewise)
    for counts, ragged in _ragged(values):
        last = np.cumsum(counts[:rows], dtype=np.int64)
        there = min((len(one) for one in ragged), default=0)
        rows = min(rows, int(np.searchsorted(last, there, side="right")))
    return rows


def products_of(origin: Mapping[str, Any]) -> Products:
    """Return the by-products that an entry's origin tells of."""
    told = origin["products"]
    frames = told["of"]
    variables = {
        name: Variable(tuple(dims), np.dtype(dtype), units)
        for name, (dims, dtype, units) in told["variables"].items()
    }
    labels = {name: (tuple(dims), labels) for name, (dims, labels) in told["coordinates"].items()}
    grid = Grid(tuple(frames["shape"]), Affine.of(np.array(frames["matrix"])))
    spec = Spec(
        grid, np.dtype(frames["dtype"]), tuple(frames["bands"]), frames["nb_frames"],
        frames["nb_merged"],
    )  # fmt: skip
    return Products(variables, labels, told["units"], told["ragged"], spec)


def _as_plain(products: Products) -> dict[str, Any]:
    """Return by-products as plain data."""
    spec = products.of
    if spec is None:
        raise TypeError("by-products of nobody knows what")
    return {
        "variables": {
            name: (one.dims, one.dtype.str, one.units) for name, one in products.variables.items()
        },
        "coordinates": {
            name: (dims, np.asarray(labels).tolist())
            for name, (dims, labels) in products.coordinates.items()
        },
        "units": dict(products.units),
        "ragged": dict(products.ragged),
        "of": {
            "shape": spec.grid.shape,
            "matrix": spec.grid.affine.matrix,
            "dtype": spec.dtype.str,
            "bands": spec.bands,
            "nb_frames": spec.nb_frames,
            "nb_merged": spec.nb_merged,
        },
    }


def _ragged(values: h5py.Group) -> Iterator[tuple[NDArray[Any], list[h5py.Dataset]]]:
    """Yield the lengths of each dimension that varies, and the variables along it."""
    for counts in values.values():
        if (dim := counts.attrs.get("sample_dimension")) is not None:
            yield counts[()], [one for one in values.values() if one.attrs["dims"][0] == dim]
