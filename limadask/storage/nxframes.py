"""Frames in a master file: virtual datasets over all data files."""

from __future__ import annotations

import re

import h5py
import numpy as np

from limadask.frames import Mosaic
from limadask.storage.entry import DATA
from limadask.storage.nexus import group
from limadask.storage.parts import Contents

COLOURS = ("red", "green", "blue"), ("red", "green", "blue", "alpha")
"""Bands that make a colour image together."""


class FrameData:
    """Writes the frames of one entry.

    Parameters
    ----------
    entry:
        The entry of the master file.
    mosaic:
        The frames, and how parts in the data files make them.
    contents:
        Where they are in the data files.
    saved_as:
        Name of the entry there.
    count:
        Frames there should be.
    has_bands:
        Whether they are saved as ``(band, y, x)``.
    """

    def __init__(
        self, entry: h5py.Group, mosaic: Mosaic, contents: Contents, saved_as: str, count: int,
        has_bands: bool,
    ) -> None:  # fmt: skip
        self._entry, self._mosaic, self._spec = entry, mosaic, mosaic.whole
        self._contents, self._saved_as, self._count = contents, saved_as, count
        self._has_bands = has_bands

    def write(self) -> h5py.Group:
        """Write the default plot, one more for each band, and colours; return the first one."""
        signal = "images" if self._has_bands else "data"
        data = group(self._entry, "data", "NXdata", signal=signal)
        if self._has_bands:
            self._write_frames(data, "images", 4)
            data["band"] = np.array(self._spec.bands, h5py.string_dtype())
        self._write_frames(data, "data", 3)
        self._write_scales(data)
        data.attrs["axes"] = ["frame", "band", "y", "x"] if self._has_bands else ["frame", "y", "x"]
        if self._has_bands:
            for band, title in enumerate(self._spec.bands):
                slug = re.sub(r"\W+", "_", title)
                while f"data_{slug}" in self._entry:  # another band differs by punctuation alone
                    slug += "_"
                one = group(self._entry, f"data_{slug}", "NXdata", signal="data", title=title)
                self._write_frames(one, "data", 3, band)
                self._write_scales(one)
                one.attrs["axes"] = ["frame", "y", "x"]
        self._write_colours()
        return data

    def write_beside(self, detector: h5py.Group) -> None:
        """Write them once more, where NXmx has them."""
        self._write_frames(detector, "data", 4 if self._has_bands else 3)

    def _write_scales(self, data: h5py.Group) -> None:
        rows, columns = self._spec.grid.shape
        for name, size in (("frame", self._count), ("y", rows), ("x", columns)):
            data[name] = np.arange(size)
        for name in ("frame", "band", "y", "x"):
            if name in data:
                data[name].make_scale(name)
        for dataset in (data.get("images"), data.get("data")):
            if dataset is not None:
                names = ("frame", "band", "y", "x") if dataset.ndim == 4 else ("frame", "y", "x")
                for axis, name in enumerate(names):
                    dataset.dims[axis].attach_scale(data[name])

    def _write_frames(self, parent: h5py.Group, name: str, ndim: int, band: int = 0) -> None:
        """Write a virtual dataset over the data files; absent frames read as the fill value."""
        spec = self._spec
        shape = spec.frame_shape if ndim == 4 else spec.grid.shape
        layout = h5py.VirtualLayout((self._count, *shape), spec.dtype)
        for piece in self._contents.pieces:
            y, x = self._mosaic.places[piece.part]
            stored = (y.stop - y.start, x.stop - x.start)
            bands = (len(spec.bands),) if self._has_bands else ()
            shape = (piece.length, *bands, *stored)
            source = h5py.VirtualSource(piece.path.name, f"{self._saved_as}/{DATA}", shape)
            part = source[piece.slot : piece.slot + piece.count]
            if ndim == 3 and self._has_bands:
                part = source[piece.slot : piece.slot + piece.count, band]
            layout[piece.first : piece.first + piece.count, ..., y, x] = part
        dataset = parent.create_virtual_dataset(name, layout, fillvalue=spec.fill)
        dataset.attrs["interpretation"] = "image"
        if spec.pattern:
            dataset.attrs["pattern"] = spec.pattern

    def _write_colours(self) -> None:
        """Write red, green and blue once more, last along the pixels, as viewers show colours."""
        spec, count = self._spec, self._count
        if spec.bands not in COLOURS:
            return
        colour = group(self._entry, "colour", "NXdata", signal="data", title="colour")
        layout = h5py.VirtualLayout((count, *spec.grid.shape, len(spec.bands)), spec.dtype)
        for piece in self._contents.pieces:
            y, x = self._mosaic.places[piece.part]
            stored = piece.length, len(spec.bands), y.stop - y.start, x.stop - x.start
            source = h5py.VirtualSource(piece.path.name, f"{self._saved_as}/{DATA}", stored)
            for band in range(len(spec.bands)):
                part = source[piece.slot : piece.slot + piece.count, band]
                layout[piece.first : piece.first + piece.count, y, x, band] = part
        colours = colour.create_virtual_dataset("data", layout, fillvalue=spec.fill)
        colours.attrs["interpretation"] = "rgba-image"
        for name, values in (
            ("frame", np.arange(count)),
            ("y", np.arange(spec.grid.shape[0])),
            ("x", np.arange(spec.grid.shape[1])),
            ("band", np.array(spec.bands, h5py.string_dtype())),
        ):
            colour[name] = values
            colour[name].make_scale(name)
        for axis, name in enumerate(("frame", "y", "x", "band")):
            colours.dims[axis].attach_scale(colour[name])
        colour.attrs["axes"] = ["frame", "y", "x", "band"]
