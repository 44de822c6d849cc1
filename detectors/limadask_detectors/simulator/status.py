"""How the simulated camera is."""

from __future__ import annotations

from math import exp

from limadask.model import Model

COLD, WARM = 25.0, 40.0
"""Temperatures of the sensor when exposures begin, and long after, °C."""
TIME = 60.0
"""Seconds in which it comes nearer by a factor of e."""


class SimulatorStatus(Model):
    """How the simulated camera is."""

    temperature: float
    """Temperature of the sensor, °C: it warms up while it exposes."""


def temperature(seconds: float) -> float:
    """Return the sensor's temperature, °C, some seconds after its first exposure began."""
    return WARM - (WARM - COLD) * exp(-seconds / TIME)
