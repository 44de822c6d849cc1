"""Results of a whole run in a master file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from limadask.storage.nexus import group
from limadask.storage.run_entry import states_of
from limadask.task import Products, result_of_run


def write_run(
    entry: h5py.Group, products: Products, files: Sequence[str | Path], saved_as: str
) -> None:
    """Merge what all workers know, and write it: the group ``data``, and a plot of each variable.

    Parameters
    ----------
    entry:
        The entry of the master file.
    products:
        The results.
    files:
        The data files.
    saved_as:
        Name of the entry there.
    """
    whole = result_of_run(products, states_of(files, saved_as))
    data = group(entry, "data", "NXdata")
    for name, (dims, labels) in products.coordinates.items():
        array = np.asarray(labels)
        plain = array.dtype.kind in "iuf"
        data[name] = array if plain else array.astype(h5py.string_dtype())
        if dims == (name,):
            data[name].make_scale(name)
    for dim, size in whole.sizes.items():
        if dim not in data:
            data[str(dim)] = np.arange(size)
            data[str(dim)].make_scale(str(dim))
    for name, (dims, _) in products.coordinates.items():
        if dims != (name,):
            for axis, dim in enumerate(dims):
                data[name].dims[axis].attach_scale(data[dim])
    plots = []
    for name in products.variables:
        values = whole[name]
        options = {"compression": "gzip", "shuffle": True} if values.ndim else {}
        dataset = data.create_dataset(name, data=values.values, **options)
        for axis, dim in enumerate(values.dims):
            dataset.dims[axis].attach_scale(data[str(dim)])
        if units := products.variables[name].units:
            dataset.attrs["units"] = units
        if values.ndim:
            along = [str(dim) for dim in values.dims]
            plots.append(_plot(entry, data, products, name, along))
    shown = next((name for name in products.variables if whole[name].ndim), None)
    if shown is not None:
        data.attrs.update(signal=shown, axes=[str(dim) for dim in whole[shown].dims])
        entry.attrs["default"] = plots[0]


def _plot(
    entry: h5py.Group, data: h5py.Group, products: Products, name: str, dims: list[str]
) -> str:
    """Write a plot of one variable; return its name.

    It has no scales of its own group: netCDF finds those of another one only above it.
    """
    title, source = f"data_{name}", data[name]
    plot = group(entry, title, "NXdata", title=name)
    layout = h5py.VirtualLayout(source.shape, source.dtype)
    layout[...] = h5py.VirtualSource(source)
    shown = plot.create_virtual_dataset(name, layout)
    axes = []
    for dim in dims:
        label = _label(products, dim)
        if label is None:
            axes.append(".")
        else:
            plot[label] = data[label][()]
            axes.append(label)
    plot.attrs.update(signal=name, axes=axes)
    if len(dims) > 1:
        shown.attrs["interpretation"] = "image" if dims[-2:] == ["y", "x"] else "spectrum"
    return title


def _label(products: Products, dim: str) -> str | None:
    """Return what has numbers along a dimension; None where that are only names."""
    labels = [
        name
        for name, (dims, values) in products.coordinates.items()
        if dims == (dim,) and np.asarray(values).dtype.kind in "iuf"
    ]
    if labels:
        return labels[0]
    return None if dim in products.coordinates else dim
