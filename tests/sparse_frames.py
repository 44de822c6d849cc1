"""Sparse frames made and shown by NumPy alone: each call of ``sparse`` is compiled for seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.frames import SparsePixels


def sparse_of(pixels: NDArray[Any]) -> SparsePixels:
    """Keep what is not zero of frames ``(frame, band, y, x)``."""
    images = pixels.reshape(-1, pixels.shape[2] * pixels.shape[3])
    held = [np.flatnonzero(image) for image in images]
    counts = np.array([0, *map(len, held)])
    index = np.concatenate([np.empty(0, np.int32), *held]).astype(np.int32)
    kept = [image[places] for image, places in zip(images, held, strict=True)]
    intensity = np.concatenate([np.empty(0, pixels.dtype), *kept])
    return SparsePixels(np.cumsum(counts), index, intensity, pixels.shape[1:])


def shown(array: Any) -> NDArray[Any]:
    """Return all pixels of a compressed array whose rows are images."""
    assert tuple(array.compressed_axes) == tuple(range(array.ndim - 2))
    out = np.zeros(array.shape, array.dtype)
    images = out.reshape(-1, array.shape[-2] * array.shape[-1])
    for image, start, stop in zip(images, array.indptr[:-1], array.indptr[1:], strict=True):
        image[array.indices[start:stop]] = array.data[start:stop]
    return out
