"""An entry of a data file for sparse frames: the pixels that hold something, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import Background, SparsePixels
from limadask.storage.codec import dataset_options
from limadask.storage.entry import DETECTOR, FrameEntry, FrameLayout, growing

COUNT = f"{DETECTOR}/count"
"""How many pixels each frame has; this place, and those below, are within an entry."""
INDEX, INTENSITY = f"{DETECTOR}/index", f"{DETECTOR}/intensity"
"""Number within the frame ``(band, y, x)`` of each pixel, and what it holds."""
BACKGROUND = f"{DETECTOR}/background"
RADIUS, PIXEL_RADIUS = "radius", "pixel_radius"
CHUNK = 1 << 14
"""Pixels of a chunk: the last one is written again with each block, so it must be small."""


@dataclass(frozen=True, slots=True)
class SparseChunks:
    """Sparse frames, ready to be written.

    Parameters
    ----------
    numbers, timestamps, status, invalid, causes, values:
        As in :class:`~limadask.storage.Chunks`.
    counts:
        How many pixels each frame has.
    index, intensity:
        Number within its frame ``(band, y, x)`` of each pixel, increasing, and what it holds.
    background:
        What all others hold, as in :class:`~limadask.frames.SparsePixels`; None where it is 0.
    """

    numbers: NDArray[np.int64]
    timestamps: NDArray[np.int64]
    status: NDArray[np.uint8]
    counts: NDArray[np.int64]
    index: NDArray[np.uint32]
    intensity: NDArray[Any]
    background: NDArray[np.float32] | None = None
    invalid: Mapping[int, Sequence[bytes | NDArray[np.uint8]]] = field(default_factory=dict)
    causes: Mapping[int, str] = field(default_factory=dict)
    values: NDArray[np.float64] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels."""
        background = 0 if self.background is None else self.background.nbytes
        return self.index.nbytes + self.intensity.nbytes + background


class SparseEntry(FrameEntry[SparseChunks]):
    """Sparse frames.

    Parameters
    ----------
    group:
        The entry.
    layout:
        What it was made for.
    """

    def _open(self, group: h5py.Group) -> None:
        self._columns_of_pixels = group[INDEX], group[INTENSITY]
        self._counts, self._background = group[COUNT], group.get(BACKGROUND)

    def _append_frames(self, part: SparseChunks, places: slice) -> None:
        ends = np.concatenate([[0], np.cumsum(part.counts)])
        held = slice(int(ends[places.start]), int(ends[places.stop]))
        begun = self._columns_of_pixels[0].shape[0]
        for column, values in zip(
            self._columns_of_pixels, (part.index, part.intensity), strict=True
        ):
            column.resize(begun + held.stop - held.start, axis=0)
            column[begun:] = values[held]
        last = self.count + places.stop - places.start
        self._counts.resize(last, axis=0)
        self._counts[self.count :] = part.counts[places]
        if self._background is not None and part.background is not None:
            self._background.resize(last, axis=0)
            self._background[self.count :] = part.background[places]

    def _flush_frames(self) -> None:
        for column in (*self._columns_of_pixels, self._background, self._counts):
            if column is not None:
                column.flush()


class SparseLayout(FrameLayout):
    """What an entry with sparse frames is made for."""

    def opened(self, group: h5py.Group) -> SparseEntry:
        """Return it, to be appended to."""
        return SparseEntry(group, self)

    def _make_frames(self, group: h5py.Group) -> None:
        spec, options = self.spec, dataset_options(self.compression)
        for name, dtype in ((INDEX, np.dtype("u4")), (INTENSITY, spec.dtype)):
            group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(CHUNK,), **options)
        growing(group, COUNT, "u4", 0)
        if (background := spec.background) is not None:
            shape = len(spec.bands), len(background.radius), 2
            group.create_dataset(
                BACKGROUND, (0, *shape), "f4", maxshape=(None, *shape), chunks=(1, *shape)
            )
            group[RADIUS] = background.radius
            group[RADIUS].attrs["units"] = background.unit
            group.create_dataset(PIXEL_RADIUS, data=background.pixel_radius, compression="gzip")

    def _origin(self) -> dict[str, Any]:
        spec = self.spec
        told = {"shape": spec.grid.shape, "dtype": spec.dtype.str}
        return {**super()._origin(), "sparse": told}


def background_of(entry: h5py.Group) -> Background | None:
    """Return where the background of an entry's frames is known."""
    if PIXEL_RADIUS not in entry:
        return None
    unit = str(entry[RADIUS].attrs["units"])
    return Background(entry[RADIUS][()], entry[PIXEL_RADIUS][()], unit)


def pixels_of(entry: h5py.Group, start: int, stop: int, bands: int, size: int) -> SparsePixels:
    """Return successive frames of an entry, their shape ``(band, size, 1)``: pixels in a row.

    Parameters
    ----------
    start, stop:
        Places of the first and, plus one, of the last.
    bands, size:
        Bands of a frame, and pixels of an image.
    """
    ends = np.concatenate([[0], np.cumsum(entry[COUNT][:stop], dtype=np.int64)])
    held = slice(int(ends[start]), int(ends[stop]))
    pointers, index = by_image(entry[INDEX][held], np.diff(ends[start:]), bands, size)
    background = entry[BACKGROUND][start:stop] if BACKGROUND in entry else None
    return SparsePixels(pointers, index, entry[INTENSITY][held], (bands, size, 1), background)


def by_image(
    index: NDArray[np.uint32], counts: NDArray[np.int64], bands: int, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return pointers and numbers within images of pixels that are numbered within frames."""
    if bands == 1:
        return np.concatenate([[0], np.cumsum(counts)]), index.astype(np.int32)
    image = index // size + np.repeat(np.arange(len(counts)) * bands, counts)
    per_image = np.bincount(image.astype(np.int64), minlength=len(counts) * bands)
    return np.concatenate([[0], np.cumsum(per_image)]), (index % size).astype(np.int32)


def by_frame(pixels: SparsePixels) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return how many pixels each frame has, and their numbers within it."""
    bands, size = pixels.frame_shape[0], pixels.frame_shape[1] * pixels.frame_shape[2]
    counts = pixels.counts
    index = pixels.index.view(np.uint32)
    if bands > 1:
        moved = np.tile(np.arange(bands, dtype=np.uint32) * np.uint32(size), len(counts))
        index = index + np.repeat(moved, counts.ravel())
    return counts.sum(axis=1), index
