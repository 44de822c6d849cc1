"""Images as a detector compresses them: photons that fall at random."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from limadask.storage import encoder

Compression = Literal["bslz4", "lz4", "none"]
_HEADER = struct.Struct(">QII")
"""What filter 32004 puts before a block: bytes of the image, of a block, of this one compressed."""


@dataclass(frozen=True, slots=True)
class Images:
    """What the images are like.

    Parameters
    ----------
    shape:
        Rows and columns.
    dtype:
        Type of the pixels.
    bands:
        Names of the channels.
    mean:
        Photons in a pixel, on average: the more, the less they can be compressed.
    compression:
        How they are compressed.
    distinct:
        How many there are; they are sent in turn.
    """

    shape: tuple[int, int] = (512, 1028)
    dtype: str = "uint16"
    bands: tuple[str, ...] = ("threshold_1",)
    mean: float = 0.3
    compression: Compression = "bslz4"
    distinct: int = 4

    @classmethod
    def of(cls, **fields: Any) -> Images:
        """Return what was told by JSON, which has lists."""
        told: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in fields.items()
        }
        return cls(**told)

    def pixels(self, number: int) -> NDArray[Any]:
        """Return an image, shape ``(band, y, x)``: always the same one, moved along its rows."""
        first = _photons(self.shape, len(self.bands), self.mean)
        return np.roll(first, 7 * (number % self.distinct), axis=-1).astype(self.dtype)

    def payloads(self, number: int) -> list[bytes]:
        """Return its bands, compressed as on stream 2."""
        return [compressed(band, self.compression) for band in self.pixels(number)]


@lru_cache(maxsize=4)  # it takes longer than anything else here
def _photons(shape: tuple[int, int], bands: int, mean: float) -> NDArray[np.int64]:
    random = np.random.default_rng(1)
    return np.stack([random.poisson(mean / (1 + band), shape) for band in range(bands)])


def compressed(pixels: NDArray[Any], compression: Compression) -> bytes:
    """Return an image as HDF5 filter 32008 or 32004 would write it, or its bytes."""
    if compression == "bslz4":
        return bytes(encoder("bshuf_lz4")(pixels))
    if compression == "none":
        return pixels.tobytes()
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:
        data = file.create_dataset("data", data=pixels, chunks=pixels.shape, **hdf5plugin.LZ4())
        return bytes(data.id.read_direct_chunk((0,) * pixels.ndim)[1])


def bare_block(payload: bytes) -> bytes:
    """Return the only block of filter 32004 alone, as it is on stream v1."""
    _, _, size = _HEADER.unpack_from(payload)
    if len(payload) != _HEADER.size + size:
        raise ValueError("the image is in several blocks")
    return payload[_HEADER.size :]


def many(images: Images) -> Sequence[list[bytes]]:
    """Return all distinct images, compressed."""
    return [images.payloads(number) for number in range(images.distinct)]
