"""Images in the formats that fabio reads: CBF, EDF, TIFF and more."""

from __future__ import annotations

import copy
from typing import Any

import fabio
import numpy as np
from fabio.cbfimage import CbfImage
from fabio.compression import md5sum
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask_detectors.replay.images import COLOURS, Image, Images, Layout, native


class Pictures(Images):
    """All images of a file that fabio reads; colours are bands.

    Parameters
    ----------
    path:
        The file.

    Raises
    ------
    OSError
        When the file cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            _check_cbf(path)
            self._picture = fabio.open(path)
        except Exception as error:  # fabio's readers raise whatever they stumble over
            raise OSError(f"{path} cannot be read: {error or type(error).__name__}") from error
        try:
            self._first = self._pixels(0)
            self.layout = self._layout(self._first)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return int(self._picture.nframes)

    def read(self, number: int, out: NDArray[Any]) -> Image:
        """Write an image into ``out``, shape ``(band, y, x)``."""
        pixels = self._pixels(number) if number else self._first
        if (layout := self._layout(pixels)) != self.layout:
            raise ConfigError(
                f"{self._path} holds images of different kinds: {self.layout} and {layout}",
                field="path",
                value=self._path,
                allowed="one shape and one type",
            )
        np.copyto(out, pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0))
        return Image()

    def close(self) -> None:
        """Close the file."""
        self._picture.close()

    def _pixels(self, number: int) -> NDArray[Any]:
        """Return an image as fabio has it, ``(y, x)`` or ``(y, x, colour)``."""
        frame = self._picture
        try:
            if frame.nframes > 1:  # a copy, because the frames of an EDF keep what they have read
                frame = copy.copy(frame.get_frame(number))
            pixels = frame.data
            damaged = pixels is None or getattr(frame, "incomplete_data", False) or _altered(frame)
        except Exception as error:
            raise OSError(
                f"image {number} of {self._path} cannot be read: {error or type(error).__name__}"
            ) from error
        if damaged:
            raise OSError(f"image {number} of {self._path} is damaged")
        return np.asarray(pixels)

    def _layout(self, pixels: NDArray[Any]) -> Layout:
        bands: tuple[str, ...] | None = ("0",)
        if pixels.ndim != 2:
            bands = COLOURS.get(pixels.shape[-1]) if pixels.ndim == 3 else None
        if bands is None:
            raise ConfigError(
                f"{self._path} holds images of shape {pixels.shape}",
                field="path",
                value=self._path,
                allowed="(y, x), (y, x, 3) or (y, x, 4)",
            )
        rows, columns = pixels.shape[:2]
        return Layout((rows, columns), native(pixels.dtype, self._path), bands)


def _check_cbf(path: str) -> None:
    """Refuse a CBF without its binary section, which fabio would look for without end.

    Raises
    ------
    OSError
        When there is none.
    """
    with open(path, "rb") as file:
        if not path.lower().endswith(".cbf") and file.read(3) != b"###":
            return
        file.seek(0)
        head = file.read(16 * CbfImage.PADDING)  # as far as fabio looks for the section
        section = head.find(CbfImage.BINARAY_SECTION)
        found, part = head[max(section, 0) :], b"?"
        while section >= 0 and CbfImage.STARTER not in found and part:
            part = file.read(1 << 16)
            found = found[-len(CbfImage.STARTER) :] + part
        if section < 0 or CbfImage.STARTER not in found:
            raise OSError("it has no binary section")


def _altered(frame: Any) -> bool:
    """Tell whether a CBF's checksum is wrong, about which fabio writes no more than a line."""
    if not isinstance(frame, CbfImage) or "Content-MD5" not in frame.header:
        return False
    binary = frame.cbs[frame.start_binary + len(frame.STARTER) :]
    return bool(md5sum(binary) != frame.header["Content-MD5"].encode())
