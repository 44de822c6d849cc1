"""How a detector is."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from limadask.model import Model
from limadask_detectors.dectris.key import Key, keys_of
from limadask_detectors.dectris.simplon import Simplon


class DectrisStatus(Model):
    """How a detector is; None is what this model or its firmware does not tell."""

    state: Annotated[str | None, Key("state")] = None
    """State of the detector: ``na``, ``idle``, ``ready``, ``acquire``, ``error``, …"""
    error: Annotated[tuple[str, ...] | None, Key("error")] = None
    """Errors that it is in."""
    time: Annotated[str | None, Key("time")] = None
    """Time of its clock."""
    temperature: Annotated[float | None, Key("temperature")] = None
    """Temperature of the sensor, °C."""
    humidity: Annotated[float | None, Key("humidity")] = None
    """Relative humidity at the sensor, %."""
    board_temperature: Annotated[float | None, Key("board_000/th0_temp")] = None
    """Temperature of the first board, °C."""
    board_humidity: Annotated[float | None, Key("board_000/th0_humidity")] = None
    """Relative humidity at the first board, %."""
    high_voltage: Annotated[str | None, Key("high_voltage/state")] = None
    """State of the high voltage, where the sensor has one that is switched."""
    buffer_free: Annotated[float | None, Key("builder/dcu_buffer_free")] = None
    """Share of the control unit's buffer that is free, %."""
    series: Annotated[str | None, Key("series_unique_id")] = None
    """Name of the last series."""
    stream_state: Annotated[str | None, Key("state", part="stream")] = None
    """State of the stream: ``disabled``, ``ready``, ``acquire``, ``error``."""
    stream_dropped: Annotated[int | None, Key("dropped", part="stream")] = None
    """Images that the stream dropped, because nobody took them in time."""
    filewriter_state: Annotated[str | None, Key("state", part="filewriter")] = None
    """State of the control unit's own file writer."""


def read_status(api: Simplon, names: Collection[str] = ()) -> DectrisStatus:
    """Ask for all of it, or for some fields: each is a request of its own."""
    told: dict[str, Any] = {}
    for field, key in keys_of(DectrisStatus).items():
        if names and field not in names:
            continue
        found = api.find(key.names[0], key.part, kind="status")
        if found is not None:
            told[field] = tuple(found.value) if isinstance(found.value, list) else found.value
    return DectrisStatus(**told)
