"""Exposure and period of a detector."""

from __future__ import annotations

from limadask_detectors.dectris.simplon import Simplon

DIGITS = 10
"""Decimals of a time in seconds that a detector can mean."""


def set_times(api: Simplon, expo_time: float, latency_time: float) -> None:
    """Set exposure and period, in an order that the detector can follow.

    Parameters
    ----------
    api:
        The connection.
    expo_time, latency_time:
        What is asked, seconds; the detector's own readout time is the least pause.

    Raises
    ------
    ConfigError
        When the detector cannot do them.
    """
    readout = api.find("detector_readout_time")
    pause = max(latency_time, float(readout.value) if readout is not None else 0.0)
    period = round(expo_time + pause, DIGITS)
    count, frame = api.value("count_time"), api.value("frame_time")
    count.check("expo_time", "count_time", expo_time)
    frame.check("expo_time", "frame_time", period)
    if period > float(frame.value):  # an exposure never fits into a shorter period
        api.put("frame_time", period)
    api.put("count_time", expo_time)
    api.put("frame_time", period)  # once more: the exposure may have moved it


def latency(count_time: float, frame_time: float) -> float:
    """Return the pause between two exposures, seconds."""
    return max(round(frame_time - count_time, DIGITS), 0.0)
