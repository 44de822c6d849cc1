"""What the images of an acquisition must look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from limadask.frames import Codec
from limadask.parameters import HardwareParameters
from limadask_detectors.dectris.message import Image, Part, Pixels, UnsupportedError


@dataclass(frozen=True, slots=True)
class Format:
    """Shape, type and bands of images.

    Parameters
    ----------
    shape:
        Rows and columns.
    dtype:
        Type of the pixels, in the byte order of this computer.
    bands:
        Their names. That of a single one is not compared: stream v1 has none.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    bands: tuple[str, ...]

    @classmethod
    def of(cls, hardware: HardwareParameters) -> Format:
        """Return what the detector was armed for."""
        return cls(hardware.shape, np.dtype(hardware.dtype), hardware.bands)

    def chunks(self, image: Image) -> tuple[Codec, list[Part]]:
        """Return the codec of an image and its chunks, in the order of the bands.

        Raises
        ------
        UnsupportedError
            When the image looks otherwise.
        """
        channels = image.channels
        if len(self.bands) == len(channels) == 1:
            found = list(channels.values())
        elif channels.keys() == set(self.bands):
            found = [channels[name] for name in self.bands]
        else:
            found = []
        codecs = {one.codec for one in found}
        alike = all(one.shape == self.shape and one.dtype == self.dtype for one in found)
        if not alike or len(codecs) != 1:
            raise UnsupportedError(f"images of {_words(channels)}")
        return codecs.pop(), [one.chunk for one in found]

    def __str__(self) -> str:
        return f"{_size(self.shape, self.dtype)} in {_bands(self.bands)}"


def _words(channels: Mapping[str, Pixels]) -> str:
    kinds = {f"{_size(one.shape, one.dtype)} ({one.codec})" for one in channels.values()}
    return f"{' and '.join(sorted(kinds))} in {_bands(tuple(channels))}"


def _size(shape: tuple[int, int], dtype: np.dtype[Any]) -> str:
    return f"{shape[0]}×{shape[1]} {dtype}"


def _bands(names: tuple[str, ...]) -> str:
    return f"{len(names)} band{'s' * (len(names) != 1)} {', '.join(names)}".rstrip()
