"""What a master file tells of the detector, beside its pixels and where they are."""

from __future__ import annotations

import re
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Spec
from limadask.storage.nexus import field, group, iso
from limadask.storage.parts import Contents

RELATIVE = ("start_time", "stop_time")
"""Columns that count from the begin of the detector's series."""


def write_described(
    detector: h5py.Group, told: dict[str, Any], parameters: dict[str, Any], spec: Spec
) -> None:
    """Write the fields of NXdetector that are known, and the thresholds of its bands."""
    for name, value, units in _described(told, parameters, spec.nb_merged):
        field(detector, name, value, **({"units": units} if units else {}))
    thresholds: list[float] = list(told.get("thresholds") or ())
    bands: list[str] = list(told.get("bands") or ())
    if len(thresholds) == 1:
        field(detector, "threshold_energy", thresholds[0], units="eV")
    elif thresholds:
        for band, energy in zip(bands, thresholds, strict=False):
            name = f"{re.sub(r'[^a-zA-Z0-9_]+', '_', band)}_channel"
            field(group(detector, name, "NXdetector_channel"), "threshold_energy", energy,
                  units="eV")  # fmt: skip


def write_columns(detector: h5py.Group, contents: Contents, spec: Spec, count: int) -> None:
    """Write what else the detector tells of each frame, NaN where it told nothing."""
    stamps = contents.timestamps
    for name, units in spec.columns:
        values = np.full(count, np.nan)
        values[contents.numbers] = contents.values.get(name, np.nan)
        column = field(detector, name, values, units=units)
        began = _origin(stamps, contents.values.get("start_time"))
        if name in RELATIVE and units == "s" and began is not None:
            column.attrs["start"] = iso(began)


def _origin(stamps: NDArray[np.int64], started: NDArray[np.float64] | None) -> int | None:
    """Return when the detector's series began, UTC nanoseconds, if that can be known."""
    if started is None:
        return None
    known = np.flatnonzero((stamps != NEVER) & np.isfinite(started))
    return int(stamps[known[0]]) - round(float(started[known[0]]) * 1e9) if len(known) else None


def _described(
    told: dict[str, Any], parameters: dict[str, Any], nb_merged: int
) -> list[tuple[str, Any, str]]:
    """Return name, value and units of the detector's fields that are known."""
    hardware = parameters["hardware"]
    expo_time = hardware.get("expo_time")
    period = None if expo_time is None else (expo_time + hardware["latency_time"]) * nb_merged
    expo_time = None if expo_time is None else expo_time * nb_merged
    fields: list[tuple[str, Any, str]] = [
        ("description", told["model"], ""),
        ("type", "pixel", ""),
        ("serial_number", told.get("serial") or None, ""),
        ("count_time", expo_time, "s"),
        ("frame_time", period, "s"),
        ("distance", told.get("distance"), "m"),
        ("sensor_material", told.get("sensor_material"), ""),
        ("sensor_thickness", told.get("sensor_thickness"), "m"),
        ("saturation_value", told.get("saturation_value"), ""),
    ]
    return [one for one in fields if one[1] is not None]
