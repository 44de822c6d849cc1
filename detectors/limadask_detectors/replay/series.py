"""The images of several files, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask_detectors.replay.files import Source
from limadask_detectors.replay.images import Image, Images, Layout, Missing

logger = logging.getLogger(__name__)


class Series:
    """Reads image after image; one file is open at a time.

    Parameters
    ----------
    sources:
        The files; the first tells what the images are like.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._file = self._number = 0
        self._opened: Images | None = sources[0].open()
        self.layout: Layout = self._opened.layout
        self._usual = len(self._opened)

    def read(self, out: NDArray[Any] | None) -> Image | Missing | None:
        """Write the next image into ``out``, shape ``(band, y, x)``, or pass it by.

        Returns
        -------
        Image | Missing | None
            What is known of the image; how many are missing here; or None after the last.
            A file that cannot be opened counts for as many images as the first file has.

        Raises
        ------
        ConfigError
            When a file holds images of another kind.
        """
        while self._file < len(self._sources):
            if self._opened is None:
                try:
                    self._opened = self._open()
                except OSError as error:
                    logger.warning("replay leaves out %d images: %s", self._usual, str(error))
                    self._file += 1
                    return Missing(self._usual, "decode_error")
            if self._number < len(self._opened):
                return self._image(self._opened, out)
            if len(self._sources) > 1:  # the only file stays open for the next round
                self.close()
            self._file, self._number = self._file + 1, 0
        return None

    def rewind(self) -> None:
        """Begin again with the first image."""
        if len(self._sources) > 1:
            self.close()
        self._file = self._number = 0

    def close(self) -> None:
        """Close the open file, if any."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def _image(self, opened: Images, out: NDArray[Any] | None) -> Image | Missing:
        number = self._number
        self._number += 1
        if out is None:
            return Image()
        try:
            return opened.read(number, out) or Missing(1, "detector")
        except OSError as error:
            path = self._sources[self._file].path
            text = str(error)  # not the error: its traceback would keep the file open
            logger.warning("replay leaves out image %d of %s: %s", number, path, text)
            return Missing(1, "decode_error")

    def _open(self) -> Images:
        source = self._sources[self._file]
        opened = source.open()
        if opened.layout != self.layout:
            opened.close()
            raise differs(source, opened.layout, self.layout)
        return opened


def differs(source: Source, found: Layout, expected: Layout) -> ConfigError:
    """Return the error of a file that does not fit the first."""
    message = f"{source.path} holds images of another kind than the first file"
    return ConfigError(message, field="path", value=str(found), allowed=str(expected))
