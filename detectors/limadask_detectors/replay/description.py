"""What a NeXus file tells of the detector."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np

from limadask.geometry import PATTERNS, Affine, Grid, pattern_on

_METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "micron": 1e-6, "microns": 1e-6}
_ANGSTROMS = {"angstrom": 1.0, "angstroms": 1.0, "Å": 1.0, "A": 1.0, "nm": 10.0, "m": 1e10}
_PIXELS = {"pixel": 1.0, "pixels": 1.0, "": 1.0}
_MATRIX = "instrument/detector/image_transform/matrix"
_COUNTS = {"": 1.0, "counts": 1.0, "count": 1.0}


def describe(file: h5py.File) -> dict[str, Any]:
    """Return fields of ``DetectorInfo`` from the only NXdetector of the default entry.

    What is not there, or has no or other units, is left out.
    """
    entry = _entry(file)
    instrument = _only(entry, "NXinstrument")
    detector = _only(instrument, "NXdetector")
    if instrument is None or detector is None:
        return {}
    fields: dict[str, Any] = {
        "serial": _text(detector, "serial_number", "detector_number"),
        "pixel_size": _pair(detector, "{}_pixel_size", _METRES),
        "sensor_material": _text(detector, "sensor_material"),
        "sensor_thickness": _number(detector, "sensor_thickness", _METRES),
        "distance": _number(detector, "distance", _METRES)
        or _number(detector, "detector_distance", _METRES),
        "wavelength": _number(instrument, "beam/incident_wavelength", _ANGSTROMS),
        "beam_centre": _pair(detector, "beam_center_{}", _PIXELS),
    }
    saturation = _number(detector, "saturation_value", _COUNTS)
    fields["saturation_value"] = None if saturation is None else int(saturation)
    return {name: value for name, value in fields.items() if value is not None}


def describe_pattern(dataset: h5py.Dataset) -> dict[str, Any]:
    """Return the pattern of colour filters that limadask noted at its frames, as these have it.

    It notes that of the detector, and how the frames were cropped and turned of its image.
    """
    noted = dataset.attrs.get("pattern")
    entry = dataset.file.get(dataset.name.split("/")[1])
    matrix = entry.get(_MATRIX) if isinstance(entry, h5py.Group) else None
    if noted not in PATTERNS or not isinstance(matrix, h5py.Dataset):
        return {}
    try:
        grid = Grid(dataset.shape[-2:], Affine.of(matrix[()]))
        return {"pattern": pattern_on(grid, noted)}
    except ValueError:  # of binned frames, or no such matrix
        return {}


def _entry(file: h5py.File) -> h5py.Group | None:
    default = file.attrs.get("default")
    found = file.get(default) if isinstance(default, str | bytes) else None
    return found if isinstance(found, h5py.Group) else _only(file, "NXentry")


def _only(group: h5py.Group | None, nx_class: str) -> h5py.Group | None:
    """Return the one child group of this class."""
    if group is None:
        return None
    found = [one for one in map(group.get, group) if isinstance(one, h5py.Group)]
    found = [one for one in found if one.attrs.get("NX_class") in (nx_class, nx_class.encode())]
    return found[0] if len(found) == 1 else None


def _value(group: h5py.Group, name: str) -> tuple[Any, str]:
    """Return the one value of a dataset, and its units."""
    found = group.get(name)
    if not isinstance(found, h5py.Dataset) or found.size != 1:
        return None, ""
    units = found.attrs.get("units", "")
    units = units.decode() if isinstance(units, bytes) else str(units)
    return np.ravel(found[()])[0], units.strip()


def _number(group: h5py.Group, name: str, units: dict[str, float]) -> float | None:
    value, unit = _value(group, name)
    if not isinstance(value, np.number) or unit not in units:
        return None
    number = float(value) * units[unit]
    return number if math.isfinite(number) else None


def _pair(group: h5py.Group, name: str, units: dict[str, float]) -> tuple[float, float] | None:
    y, x = (_number(group, name.format(axis), units) for axis in "yx")
    return None if y is None or x is None else (y, x)


def _text(group: h5py.Group, *names: str) -> str | None:
    for name in names:
        value, _ = _value(group, name)
        if isinstance(value, bytes | str) and value:
            return value.decode(errors="replace") if isinstance(value, bytes) else value
    return None
