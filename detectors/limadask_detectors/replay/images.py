"""The images of one open file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError

COLOURS = {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}
"""Names of the bands of a colour image, by their number."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What all images of a replay have in common.

    Parameters
    ----------
    shape:
        Rows and columns.
    dtype:
        Type of the pixels, in the byte order of this machine.
    bands:
        Names of the bands.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    bands: tuple[str, ...]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape of a buffer, ``(band, y, x)``."""
        return len(self.bands), *self.shape

    def __str__(self) -> str:
        rows, columns = self.shape
        return f"{rows}×{columns} {self.dtype}, bands {', '.join(self.bands)}"


@dataclass(frozen=True, slots=True)
class Missing:
    """Images that are left out, and why.

    Parameters
    ----------
    count:
        How many.
    cause:
        ``decode_error`` where they cannot be read, ``detector`` where they never were there.
    """

    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of an image beside its pixels.

    Parameters
    ----------
    timestamp:
        When its exposure started, UTC nanoseconds, if the file says so.
    complete:
        Whether all its pixels are there.
    invalid:
        Which are not, shape ``(band, y, x)``, if the file says so.
    """

    timestamp: int | None = None
    complete: bool = True
    invalid: NDArray[np.bool_] | None = None


class Images(ABC):
    """The images of one open file, in order; close it after use."""

    layout: Layout
    """What they have in common."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def read(self, number: int, out: NDArray[Any]) -> Image | None:
        """Write an image into ``out``, shape ``(band, y, x)``; None where the file holds none.

        Raises
        ------
        OSError
            When this image cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file; may be called again."""

    def description(self) -> dict[str, Any]:
        """Return what the file tells of the detector, as fields of ``DetectorInfo``."""
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def native(dtype: np.dtype[Any], path: str) -> np.dtype[Any]:
    """Return a type of pixels in the byte order of this machine.

    Raises
    ------
    ConfigError
        When it is no type of pixels.
    """
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ConfigError(
            f"{path} holds pixels of type {dtype}",
            field="path",
            value=path,
            allowed="integers and floats of 1 to 8 bytes",
        )
    return dtype.newbyteorder("=")
