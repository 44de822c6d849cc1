"""Types of pixels as users write them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from limadask.errors import ConfigError

Dtype = str
"""Name of a type of pixels: an integer or a float, such as ``uint16``."""


def parse_dtype(value: str | None) -> str | None:
    """Return the canonical name of a pixel type.

    Raises
    ------
    ConfigError
        When there is no such type, or it is no integer or float.
    """
    if value is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of names that NumPy will not know any more
            dtype = np.dtype(value)
    except (TypeError, DeprecationWarning):
        dtype = np.dtype(object)
    if dtype.kind not in "iuf" or (dtype.kind == "f" and dtype.itemsize not in (4, 8)):
        allowed = "int8 … int64, uint8 … uint64, float32, float64"
        raise ConfigError("no type for pixels", value=value, allowed=allowed)
    return dtype.name


def limits(dtype: np.dtype[Any], within: np.dtype[Any]) -> tuple[Any, Any]:
    """Return the lowest and highest value of ``dtype``, as values of the type ``within``.

    The computation is done in ``within``, so that what it cannot hold is cut to what it can.
    """
    if within.kind == "f":
        if dtype.kind == "f":
            return within.type(-np.inf), within.type(np.inf)
        info = np.iinfo(dtype)
        # the largest value that, as a float, does not round beyond the type's range
        high = within.type(info.max)
        high = high if int(high) <= info.max else np.nextafter(high, within.type(0))
        return within.type(info.min), high
    own = np.iinfo(within)
    if dtype.kind == "f":
        return within.type(own.min), within.type(own.max)
    info = np.iinfo(dtype)
    return within.type(max(info.min, own.min)), within.type(min(info.max, own.max))


def difference_dtype(pixels: np.dtype[Any], background: np.dtype[Any]) -> np.dtype[Any]:
    """Return a type that holds every difference of two such values.

    Differences of 64-bit unsigned integers fit no integer: they become float64.
    """
    if "f" in (pixels.kind, background.kind):
        return np.dtype("f8") if pixels in (np.dtype("f8"), np.dtype("u8")) else np.dtype("f4")
    if np.dtype("u8") in (pixels, background):
        return np.dtype("f8")
    return np.dtype("i4") if max(pixels.itemsize, background.itemsize) <= 2 else np.dtype("i8")
