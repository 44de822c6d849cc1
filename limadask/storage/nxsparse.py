"""Sparse frames in a master file, as pyFAI's ``sparsify-Bragg`` lays them out.

fabio and pyFAI read this layout (``fabio.sparseimage``, ``pyFAI.io.sparse_frame``); its arrays are
also those of compressed rows by frame, as scipy has them. What pyFAI does not know: several bands
lie below each other in one image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import Background, Spec
from limadask.storage.nexus import bare_scale, field, group
from limadask.storage.parts import Contents, Piece
from limadask.storage.sparse_entry import BACKGROUND, COUNT, INDEX, INTENSITY

SPARSE = "sparse_frames"
"""The group that has them, within an entry."""


class SparseData:
    """Writes the sparse frames of one entry.

    Parameters
    ----------
    entry:
        The entry of the master file.
    spec:
        The frames.
    contents:
        Where they are in the data files.
    saved_as:
        Name of the entry there.
    count:
        Frames there should be.
    """

    def __init__(
        self, entry: h5py.Group, spec: Spec, contents: Contents, saved_as: str, count: int
    ) -> None:
        self._entry, self._spec, self._contents = entry, spec, contents
        self._saved_as, self._count = saved_as, count

    def write(self) -> h5py.Group:
        """Write them into a group of their own; return it."""
        data = group(self._entry, SPARSE, "NXdata", signal="count", axes=["frame"])
        self._entry.attrs.update(default=SPARSE, pyFAI_sparse_frames=SPARSE)
        data["frame"] = np.arange(self._count)
        data["frame"].make_scale("frame")
        counts = self._counts()
        data.create_dataset("count", data=counts, compression="gzip", shuffle=True)
        data["count"].attrs["long_name"] = "pixels that hold something"
        data["count"].dims[0].attach_scale(data["frame"])
        field(data, "frame_ptr", np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64))
        self._write_pixels(data, int(counts.sum()))
        field(data, "dummy", self._spec.fill)
        field(data, "bands", np.array(self._spec.bands, h5py.string_dtype()))
        self._write_image(data)
        if self._spec.background is None:
            self._write_no_background(data)
        else:
            self._write_background(data, self._spec.background)
        return data

    def _counts(self) -> NDArray[np.int64]:
        """Return how many pixels each frame has: none where it is absent."""
        counts = np.zeros(self._count, np.int64)
        for piece, start, stop, _ in self._runs():
            with h5py.File(piece.path, "r") as file:
                places = slice(piece.slot, piece.slot + piece.count)
                found = file[self._saved_as][COUNT][places]
            counts[piece.first : piece.first + piece.count] = found
            if found.sum() != stop - start:
                raise OSError(f"{piece.path} does not hold the pixels that it counts")
        return counts

    def _runs(self) -> Iterator[tuple[Piece, int, int, int]]:
        """Yield for each run of frames its first and last + 1 pixel, and all of its file."""
        ends: dict[Path, NDArray[np.int64]] = {}
        for piece in self._contents.pieces:
            if piece.path not in ends:
                with h5py.File(piece.path, "r") as file:
                    counts = file[self._saved_as][COUNT][()]
                ends[piece.path] = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
            edges = ends[piece.path]
            start, stop = edges[piece.slot], edges[piece.slot + piece.count]
            yield piece, int(start), int(stop), int(edges[-1])

    def _write_pixels(self, data: h5py.Group, total: int) -> None:
        """Write all frames' pixels one after the other, in the order of the frames."""
        scale = bare_scale(data, "pixel", total)
        places = (("index", INDEX, np.dtype("u4")), ("intensity", INTENSITY, self._spec.dtype))
        for name, place, dtype in places:
            if not total:
                dataset = data.create_dataset(name, (0,), dtype)
            else:
                layout, at = h5py.VirtualLayout((total,), dtype), 0
                for piece, start, stop, length in self._runs():
                    if stop > start:
                        source = self._source(piece.path, place, (length,))
                        layout[at : at + stop - start] = source[start:stop]
                        at += stop - start
                dataset = data.create_virtual_dataset(name, layout)
            dataset.dims[0].attach_scale(scale)

    def _write_image(self, data: h5py.Group) -> None:
        """Write what pyFAI calls the mask: the radius of each pixel, NaN where it is masked."""
        spec, background = self._spec, self._spec.background
        radius = np.zeros(spec.frame_shape, np.float32)
        if background is not None:
            radius[...] = background.pixel_radius
        if spec.masked is not None:
            radius[np.broadcast_to(spec.masked, spec.frame_shape)] = np.nan
        image = radius.reshape(-1, spec.grid.shape[1])
        data.create_dataset("mask", data=image, compression="gzip", shuffle=True)
        data["mask"].attrs["interpretation"] = "image"
        if background is not None:
            data["mask"].attrs["unit"] = background.unit

    def _write_background(self, data: h5py.Group, background: Background) -> None:
        """Write mean and standard deviation at each radius, of each frame.

        The first of them is told once more, a step below: fabio takes pixels below the first
        radius for masked, and all steps for equal.
        """
        bands, count = len(self._spec.bands), len(background.radius)
        step = background.radius[1] - background.radius[0] if count > 1 else 1.0
        radius = np.concatenate([[background.radius[0] - step], background.radius])
        field(data, "radius", radius.astype(np.float32), unit=background.unit)
        shape = (bands, count + 1) if bands > 1 else (count + 1,)  # one band as pyFAI has it
        for name, which in (("background_avg", 0), ("background_std", 1)):
            layout = h5py.VirtualLayout((self._count, *shape), "f4")
            for piece in self._contents.pieces:
                source = self._source(piece.path, BACKGROUND, (piece.length, bands, count, 2))
                frames = slice(piece.slot, piece.slot + piece.count)
                places = slice(piece.first, piece.first + piece.count)
                band = slice(None) if bands > 1 else 0
                layout[places, ..., 0] = source[frames, band, 0, which]
                layout[places, ..., 1:] = source[frames, band, :, which]
            dataset = data.create_virtual_dataset(name, layout, fillvalue=np.nan)
            dataset.attrs["interpretation"] = "spectrum"

    def _write_no_background(self, data: h5py.Group) -> None:
        """Write one of 0, since fabio fills masked pixels only where there is one."""
        field(data, "radius", np.array([0.0, 1.0], np.float32), unit="")
        for name in ("background_avg", "background_std"):  # never written: they take no room
            data.create_dataset(name, (self._count, 2), "f4", fillvalue=0)

    def _source(self, path: Path, place: str, shape: tuple[Any, ...]) -> h5py.VirtualSource:
        return h5py.VirtualSource(path.name, f"{self._saved_as}/{place}", shape)
