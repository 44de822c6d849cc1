"""Frames as the detector has compressed them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Codec = Literal["none", "bshuf_lz4", "lz4"]
"""How chunks are compressed, each as an HDF5 filter would: not at all, by 32008, by 32004."""
ALIGNMENT = 64
"""Bytes to whose multiples the chunks of a block are aligned."""


def packed_bound(frame_nbytes: int, nb_bands: int) -> int:
    """Return the bytes that the chunks of a frame take at most, also where nothing can be gained.

    LZ4 adds 0.6 % to blocks of 8 KiB that it cannot compress; chunks begin at multiples of
    :data:`ALIGNMENT`.
    """
    return frame_nbytes + frame_nbytes // 64 + 2 * ALIGNMENT * nb_bands


@dataclass(frozen=True, slots=True)
class Packed:
    """Compressed frames in one piece of memory: a chunk for each band of each frame.

    Parameters
    ----------
    data:
        The memory, shape ``(byte,)``, uint8.
    offsets, sizes:
        Where in it each chunk begins, and its bytes, shape ``(frame, band)``, int64.
    codec:
        How the chunks are compressed.
    shape:
        Rows and columns of the image in a chunk.
    dtype:
        Type of its pixels, in the byte order of this computer.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    codec: Codec
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, part: slice | NDArray[Any]) -> Packed:
        return replace(self, offsets=self.offsets[part], sizes=self.sizes[part])

    @property
    def pixels_shape(self) -> tuple[int, int, int, int]:
        """Shape ``(frame, band, y, x)`` of the pixels in it."""
        return (*self.offsets.shape, *self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the memory."""
        return int(self.data.nbytes)

    def copied(self) -> Packed:
        """Return the same chunks in memory of their own, with nothing else in it."""
        sizes = self.sizes.ravel()
        offsets = (np.cumsum(sizes) - sizes).reshape(self.sizes.shape)
        data = np.concatenate([np.empty(0, np.uint8), *self.chunks()])
        return Packed(data, offsets, self.sizes, self.codec, self.shape, self.dtype)

    def runs(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield pieces of memory, with offsets and sizes of the chunks in each, in their order."""
        yield self.data, self.offsets.ravel(), self.sizes.ravel()

    def chunks(self) -> list[NDArray[np.uint8]]:
        """Return all bands of the first frame, then of the second, …: views, no copies."""
        ends = self.offsets + self.sizes
        data = self.data
        return [data[start:end] for start, end in zip(self.offsets.flat, ends.flat, strict=True)]


@dataclass(frozen=True, slots=True)
class Scattered(Packed):
    """Compressed frames whose chunks lie where they were received, each by itself.

    They are put in one piece as soon as they leave the process.

    Parameters
    ----------
    pieces:
        The chunks, shape ``(frame, band)``, each an array of bytes; ``data`` has none of them.
    """

    pieces: NDArray[Any]

    def __getitem__(self, part: slice | NDArray[Any]) -> Scattered:
        return replace(
            self, offsets=self.offsets[part], sizes=self.sizes[part], pieces=self.pieces[part]
        )

    def __reduce__(self) -> tuple[Callable[..., Packed], tuple[Any, ...]]:
        whole = self.copied()
        fields = whole.data, whole.offsets, whole.sizes, whole.codec, whole.shape, whole.dtype
        return Packed, fields

    @property
    def nbytes(self) -> int:
        """Bytes of all chunks."""
        return int(self.sizes.sum())

    def runs(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]]:
        """Yield each chunk by itself."""
        nothing = np.zeros(1, np.int64)
        for piece in self.pieces.flat:
            yield piece, nothing, np.array([len(piece)])

    def chunks(self) -> list[NDArray[np.uint8]]:
        """Return all bands of the first frame, then of the second, …: no copies."""
        return list(self.pieces.flat)
