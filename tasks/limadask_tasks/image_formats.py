"""Formats of single images, written by fabio."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limadask.errors import ConfigError
from limadask.frames import NEVER, Spec
from limadask.storage.nexus import iso

ImageFormat = Literal["cbf", "edf", "tiff"]
Header = dict[str, str]
SUFFIXES: Mapping[ImageFormat, tuple[str, ...]] = {
    "cbf": (".cbf",),
    "edf": (".edf",),
    "tiff": (".tiff", ".tif"),
}
_DTYPES: Mapping[ImageFormat, tuple[str, ...]] = {
    "cbf": ("int8", "int16", "int32", "uint8", "uint16", "uint32"),
    "edf": (
        "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32",
        "float64",
    ),
    "tiff": ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32"),
}  # fmt: skip
"""Types of pixels that each can have without a loss, as most programs read it."""
_MOST = np.iinfo(np.int32).max
_LONGEST = 500
"""Characters of a value in a header."""


def check_dtype(name: ImageFormat, dtype: np.dtype[Any]) -> None:
    """See that a format has such pixels.

    Raises
    ------
    ConfigError
        When it has not.
    """
    if dtype.name not in _DTYPES[name]:
        raise ConfigError(
            f"{name} has no pixels of type {dtype.name}",
            field="format",
            value=name,
            allowed=f"pixels of type {', '.join(_DTYPES[name])}, or another format",
        )


def stored(name: ImageFormat, pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels as a format stores them.

    CBF has 32-bit integers with a sign. The maximum of uint32, which stands for no value, becomes
    −1 there, as in files of DECTRIS.

    Raises
    ------
    OverflowError
        When a value of uint32 is too large for it, or fabio cannot write it.
    """
    if name != "cbf":
        return np.ascontiguousarray(pixels)
    if pixels.dtype == np.uint32:
        large = pixels > _MOST
        if (pixels[large] != np.iinfo(np.uint32).max).any():
            raise OverflowError(f"CBF has no values above {_MOST}, and {pixels[large].min()} came")
    made = pixels.astype(np.int32)  # the maximum of uint32 wraps to −1
    if pixels.dtype.itemsize == 4 and _has_jump(made):
        raise OverflowError(f"fabio cannot write CBF whose neighbours differ by {_MOST + 1}")
    return made


def _has_jump(pixels: NDArray[np.int32]) -> bool:
    """Tell whether two neighbours differ by 2³¹: fabio 2026.6 writes a difference of 0 then."""
    if int(max(pixels.max(), 0)) - int(min(pixels.min(), 0)) <= _MOST:
        return False
    steps = np.diff(pixels.ravel().astype(np.int64), prepend=0)
    return bool((np.abs(steps) == _MOST + 1).any())


def write_image(name: ImageFormat, path: str, pixels: NDArray[Any], header: Header) -> None:
    """Write an image whose pixels are as :func:`stored` returns them."""
    if name == "cbf":
        from fabio.cbfimage import CbfImage as Image
    elif name == "edf":
        from fabio.edfimage import EdfImage as Image
    else:
        from fabio.tifimage import TifImage as Image
    Image(data=pixels, header=header).write(path)


class Headers:
    """What stands in the header of each image.

    Parameters
    ----------
    name:
        The format.
    spec:
        The frames.
    about:
        What is known of the run: ``parameters``, ``detector`` and ``metadata``, plain data.
    """

    def __init__(self, name: ImageFormat, spec: Spec, about: Mapping[str, Any]) -> None:
        self.name, self._spec, self._about = name, spec, about
        self._same = _texts(self._known())
        self._first, self._lines = self._pilatus()

    def header(self, number: int, band: int, stamp: int) -> Header:
        """Return the header of one image.

        Parameters
        ----------
        number, band:
            The frame and its band.
        stamp:
            When its exposure began, UTC nanoseconds.
        """
        date = "" if stamp == NEVER else iso(stamp)
        told = {"frame": number, "band": self._spec.bands[band], "timestamp": date}
        texts = _texts(told) | self._same
        if self.name != "cbf":
            return texts
        dates = [date.removesuffix("Z")] if date else []
        more = (f"{key} {text}" for key, text in texts.items())
        lines = [self._first, *dates, *self._lines, *more]
        return {
            "_array_data.header_convention": "PILATUS_1.2",
            "_array_data.header_contents": "\r\n".join(f"# {line}" for line in lines),
        }

    def _known(self) -> dict[str, Any]:
        """Return what is the same for all images; names as ESRF's EDF files have them."""
        told, spec = self._about.get("detector", {}), self._spec
        hardware = self._about.get("parameters", {}).get("hardware", {})
        known = {
            "detector": told.get("model"),
            "serial": told.get("serial"),
            "expo_time": hardware.get("expo_time"),
            "latency_time": hardware.get("latency_time"),
            "SampleDistance": told.get("distance"),
            "image_transform": " ".join(map("{:g}".format, spec.grid.affine.as_array().ravel())),
        }
        if told.get("wavelength"):
            known["WaveLength"] = told["wavelength"] * 1e-10
        if told.get("pixel_size"):
            known["PSize_2"], known["PSize_1"] = self._pixel_size()
        if told.get("beam_centre"):
            y, x = (~spec.grid)(*told["beam_centre"])
            known |= {"Center_1": float(x) + 0.5, "Center_2": float(y) + 0.5}
        return known | _flat("metadata", self._about.get("metadata", {}))

    def _pilatus(self) -> tuple[str, list[str]]:
        """Return the lines that programs look for in files of DECTRIS: the first, and others."""
        told = self._about.get("detector", {})
        hardware = self._about.get("parameters", {}).get("hardware", {})
        exposure = hardware.get("expo_time", 0.0)
        lines = [
            f"Exposure_time {exposure:.7f} s",
            f"Exposure_period {exposure + hardware.get('latency_time', 0.0):.7f} s",
        ]
        if told.get("pixel_size"):
            height, width = self._pixel_size()
            lines.append(f"Pixel_size {width:g} m x {height:g} m")
        if told.get("sensor_thickness"):
            material = {"Si": "Silicon"}.get(told.get("sensor_material"), "Unknown")
            lines.append(f"{material} sensor, thickness {told['sensor_thickness']:.6f} m")
        if told.get("saturation_value"):
            lines.append(f"Count_cutoff {told['saturation_value']} counts")
        if told.get("wavelength"):
            lines.append(f"Wavelength {told['wavelength']:.5f} A")
        if told.get("distance"):
            lines.append(f"Detector_distance {told['distance']:.5f} m")
        if told.get("beam_centre"):
            y, x = (~self._spec.grid)(*told["beam_centre"])
            lines.append(f"Beam_xy ({x:.2f}, {y:.2f}) pixels")
        return f"Detector: {_text(told.get('model'))}, S/N {_text(told.get('serial'))}", lines

    def _pixel_size(self) -> tuple[float, float]:
        """Return height and width of this image's pixels, in metres: binned, turned."""
        matrix = np.abs(self._spec.grid.affine.as_array()[:2, :2])
        height, width = np.asarray(self._about["detector"]["pixel_size"]) @ matrix
        return float(height), float(width)


def _texts(values: Mapping[str, Any]) -> Header:
    """Return what is known as texts, nothing for what is not."""
    return {key: text for key, value in values.items() if (text := _text(value))}


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Return nested plain data as one level, names joined by points."""
    if not isinstance(value, Mapping):
        return {name: value}
    return {
        key: one
        for inner, some in value.items()
        for key, one in _flat(f"{name}.{inner}", some).items()
    }


def _text(value: Any) -> str:
    """Return a value as a header can have it: ASCII in one line, without what ends a value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    text = str(value).encode("ascii", "backslashreplace").decode()
    clean = "".join(one if one.isprintable() and one not in "{};=" else " " for one in text)
    return " ".join(clean.split())[:_LONGEST]
