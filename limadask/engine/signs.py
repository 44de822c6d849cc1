"""What a worker tells of a run from time to time, and at once when memory gets short."""

from __future__ import annotations

from typing import Any

from limadask.engine.holding import HeldBlocks
from limadask.engine.station import Station
from limadask.memory import Pressure


def sign(station: Station | None, process: Pressure) -> dict[str, Any]:
    """Return how far a run has come on a worker, the values it has recorded, and its pressure.

    Parameters
    ----------
    station:
        The run there; None where it is not set up yet, or is released.
    process:
        How full the memory of the worker's process is.
    """
    if station is None:
        told: dict[str, Any] = {"progress": {}, "parcels": []}
        worst = process
    else:
        if isinstance(station.blocks, HeldBlocks):
            station.blocks.look()
        told = {"progress": station.progress(), "parcels": station.parcels()}
        worst = max(station.pressure(), process, key=lambda one: one.rank)
    return {**told, "pressure": (worst.level, worst.seconds_left)}
