"""Photographs: PNG and JPEG, which fabio does not read, or not in colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask_detectors.replay.images import COLOURS, Image, Images, Layout

_BEGINNINGS = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_DEPTH, _KIND, _GREY = 24, 25, 0
"""Places in a PNG of the bits of a colour and the kind of its pixels, and the kind that is grey."""


def is_photograph(path: str) -> bool:
    """Tell by its first bytes whether a file is a PNG or a JPEG."""
    with open(path, "rb") as file:
        return file.read(8).startswith(_BEGINNINGS)


class Photograph(Images):
    """The one image of a PNG or a JPEG, read by Pillow; colours are bands.

    Parameters
    ----------
    path:
        The file.

    Raises
    ------
    OSError
        When the file cannot be read.
    ConfigError
        When it holds colours of 16 bits, of which Pillow drops half.
    """

    def __init__(self, path: str) -> None:
        _check_depth(path)
        self._pixels = _read(path)
        rows, columns = self._pixels.shape[:2]
        bands = ("0",) if self._pixels.ndim == 2 else COLOURS[self._pixels.shape[2]]
        self.layout = Layout((rows, columns), self._pixels.dtype, bands)

    def __len__(self) -> int:
        return 1

    def read(self, number: int, out: NDArray[Any]) -> Image:
        """Write the image into ``out``, shape ``(band, y, x)``."""
        pixels = self._pixels
        np.copyto(out, pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))
        return Image()

    def close(self) -> None:
        """Do nothing: the file was closed when it had been read."""


def _read(path: str) -> NDArray[Any]:
    """Return the pixels, ``(y, x)`` or ``(y, x, colour)``."""
    from PIL import Image as Pillow  # here: most runs need it not

    try:
        with Pillow.open(path) as image:
            if image.mode in ("1", "L"):
                return np.asarray(image.convert("L"))
            if image.mode.startswith("I"):
                return np.asarray(image).astype(np.uint16)
            has_alpha = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            return np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    except Exception as error:  # Pillow's readers raise whatever they stumble over
        raise OSError(f"{path} cannot be read: {error or type(error).__name__}") from error


def _check_depth(path: str) -> None:
    with open(path, "rb") as file:
        head = file.read(_KIND + 1)
    is_png = head.startswith(_BEGINNINGS[0]) and len(head) > _KIND
    if is_png and head[_DEPTH] == 16 and head[_KIND] != _GREY:
        raise ConfigError(
            f"{path} holds colours of 16 bits, which would be cut to 8", field="path", value=path,
            allowed="colours of 8 bits in PNG, or TIFF or HDF5",
        )  # fmt: skip
