"""By-products in a master file: labelled variables of all frames, and a plot of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.storage.nexus import bare_scale, group
from limadask.storage.parts import Contents, Piece
from limadask.storage.product_entry import VALUES, fill_of, stored_dtype
from limadask.task import Products

MOST_CURVES = 24
"""Values of a frame that are plotted as curves over all frames; more are plotted frame by frame."""


class ProductData:
    """Writes the by-products of one entry.

    Parameters
    ----------
    entry:
        The entry of the master file.
    products:
        What they are.
    contents:
        Where they are in the data files.
    saved_as:
        Name of the entry there.
    count:
        Frames there should be.
    """

    def __init__(
        self, entry: h5py.Group, products: Products, contents: Contents, saved_as: str, count: int
    ) -> None:
        self._entry, self._products, self._contents = entry, products, contents
        self._saved_as, self._count = saved_as, count

    def write(self) -> h5py.Group:
        """Write all variables into the group ``data``; return it."""
        products = self._products
        data = group(self._entry, "data", "NXdata")
        data.create_dataset("frame", data=np.arange(self._count), compression="gzip", shuffle=True)
        data["frame"].make_scale("frame")
        self._write_labels(data)
        for dim, counted in products.ragged.items():
            names = [name for name in products.variables if products.ragged_dim(name) == dim]
            self._write_ragged(data, dim, counted, names)
        for name in products.variables:
            if products.ragged_dim(name) is None:
                self._finish(self._write_variable(data, name), name)
        for dim, counted in products.ragged.items():
            data[counted].attrs["sample_dimension"] = dim
        shown = [name for name in products.variables if products.ragged_dim(name) is None]
        data.attrs.update(signal=shown[0], axes=list(products.dims(shown[0])))
        plots = [self._write_plot(data, name) for name in shown]
        self._entry.attrs["default"] = plots[0]
        return data

    def _write_labels(self, data: h5py.Group) -> None:
        """Write the labels along all other dimensions."""
        for name, (dims, labels) in self._products.coordinates.items():
            data[name] = _stored(labels)
            _put_units(data[name], self._products.units.get(name, ""))
            if dims == (name,):
                data[name].make_scale(name)
        for name, (dims, _) in self._products.coordinates.items():
            if dims and dims != (name,):
                _attach(data, data[name], dims)

    def _write_variable(self, data: h5py.Group, name: str) -> h5py.Dataset:
        """Write a variable with a value for each frame, over all data files."""
        shape = self._products.shape(name)
        layout = h5py.VirtualLayout((self._count, *shape), self._dtype(name))
        for piece in self._contents.pieces:
            source = self._source(piece.path, name, (piece.length, *shape))
            part = source[piece.slot : piece.slot + piece.count]
            layout[piece.first : piece.first + piece.count] = part
        return data.create_virtual_dataset(name, layout, fillvalue=fill_of(self._products, name))

    def _write_ragged(self, data: h5py.Group, dim: str, counted: str, names: list[str]) -> None:
        """Write variables of any number of rows a frame, in the order of the frames.

        Frames that follow one another in a file have their rows there in one run.
        """
        runs = list(self._runs(counted))
        total = sum(stop - start for _, start, stop, _ in runs)
        bare_scale(data, dim, total)
        for name in names:
            shape, at = self._products.shape(name), 0
            if not total:
                self._finish(data.create_dataset(name, (0, *shape), self._dtype(name)), name)
                continue
            layout = h5py.VirtualLayout((total, *shape), self._dtype(name))
            for piece, start, stop, length in runs:
                if stop > start:
                    source = self._source(piece.path, name, (length, *shape))
                    layout[at : at + stop - start] = source[start:stop]
                    at += stop - start
            self._finish(data.create_virtual_dataset(name, layout), name)

    def _runs(self, counted: str) -> Iterator[tuple[Piece, int, int, int]]:
        """Yield for each run of frames its first and last + 1 row, and how many its file has."""
        stops: dict[Path, NDArray[np.int64]] = {}
        for piece in self._contents.pieces:
            if piece.path not in stops:
                with h5py.File(piece.path, "r") as file:
                    counts = file[f"{self._saved_as}/{VALUES}/{counted}"][: piece.length]
                stops[piece.path] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
            edges = stops[piece.path]
            start, stop = edges[piece.slot], edges[piece.slot + piece.count]
            yield piece, int(start), int(stop), int(edges[-1])

    def _write_plot(self, data: h5py.Group, name: str) -> str:
        """Write a plot of a variable; return its name.

        A few values a frame are curves over the frames; more are one curve, or image, a frame.
        """
        products, dims = self._products, self._products.dims(name)[1:]
        title = "data_" + re.sub(r"\W+", "_", name)
        while title in self._entry:  # another variable differs by punctuation alone
            title += "_"
        plot = group(self._entry, title, "NXdata", title=name)
        labels = [_stored(products.coordinates[dim][1]) for dim in dims]
        if any(len(one) != 1 and one.dtype.kind in "iuf" for one in labels) or (
            np.prod([len(one) for one in labels]) > MOST_CURVES
        ):
            kept = [dim for dim, one in zip(dims, labels, strict=True) if len(one) != 1]
            plot.create_dataset("frame", data=np.arange(self._count), compression="gzip")
            for dim in kept:
                plot[dim] = labels[dims.index(dim)]
                _put_units(plot[dim], products.units.get(dim, ""))
            shape = self._count, *(len(labels[dims.index(dim)]) for dim in kept)
            layout = h5py.VirtualLayout(shape, data[name].dtype)
            whole = tuple(slice(None) if dim in kept else 0 for dim in dims)
            layout[...] = h5py.VirtualSource(data[name])[(slice(None), *whole)]
            signal = plot.create_virtual_dataset(name, layout, fillvalue=data[name].fillvalue)
            signal.attrs["interpretation"] = "image" if kept[-2:] == ["y", "x"] else "spectrum"
            _put_units(signal, products.variables[name].units)
            plot.attrs.update(signal=name, axes=["frame", *kept])
            return title
        curves = []
        for cell in product(*(range(len(one)) for one in labels)):
            told = [_text(one[at]) for one, at in zip(labels, cell, strict=True) if len(one) > 1]
            curve = " ".join([name, *told]).replace("/", "|")
            layout = h5py.VirtualLayout((self._count,), data[name].dtype)
            layout[...] = h5py.VirtualSource(data[name])[(slice(None), *cell)]
            values = plot.create_virtual_dataset(curve, layout, fillvalue=data[name].fillvalue)
            _put_units(values, products.variables[name].units)
            curves.append(curve)
        plot.create_dataset("frame", data=np.arange(self._count), compression="gzip", shuffle=True)
        plot.attrs.update(signal=curves[0], axes=["frame"])
        if curves[1:]:
            plot.attrs["auxiliary_signals"] = curves[1:]
        return title

    def _finish(self, dataset: h5py.Dataset, name: str) -> None:
        """Label a variable."""
        _attach(dataset.parent, dataset, self._products.dims(name))
        _put_units(dataset, self._products.variables[name].units)

    def _source(self, path: Path, name: str, shape: tuple[int, ...]) -> h5py.VirtualSource:
        return h5py.VirtualSource(path.name, f"{self._saved_as}/{VALUES}/{name}", shape)

    def _dtype(self, name: str) -> np.dtype[Any]:
        return stored_dtype(self._products.variables[name].dtype)


def _attach(data: h5py.Group, dataset: h5py.Dataset, dims: tuple[str, ...]) -> None:
    """Tell which labels stand along a dataset's dimensions."""
    for axis, dim in enumerate(dims):
        dataset.dims[axis].attach_scale(data[dim])


def _put_units(dataset: h5py.Dataset, units: str) -> None:
    if units:
        dataset.attrs["units"] = units


def _stored(labels: Any) -> NDArray[Any]:
    """Return labels as HDF5 can have them."""
    array = np.asarray(labels)
    return array if array.dtype.kind in "iuf" else array.astype(h5py.string_dtype())


def _text(label: Any) -> str:
    return label.decode() if isinstance(label, bytes) else str(label)
