"""A worker that leaves: what it holds is processed without Dask, and its files are closed."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Sequence

from limadask.cluster.beside import beside
from limadask.engine.priority import PriorityPool
from limadask.engine.station import Station

logger = logging.getLogger(__name__)
DRAIN = 30.0
"""Seconds that a worker whose scheduler is gone may take to process what it holds."""
RELEASE = 10.0
"""Seconds that detectors, receivers and tasks may take to close."""


async def leave(stations: Sequence[Station], pool: PriorityPool) -> None:
    """Process what is held, close the files, and end the threads; a plugin that hangs is left."""
    try:
        async with asyncio.timeout(DRAIN):
            for station in stations:
                await _drain(station, pool)
    except Exception:
        logger.exception("draining acquisitions")
    # files that were closed while a thread still writes would be begun anew, and a thread
    # that is inside HDF5 when the process ends holds the lock that its end waits for
    pool.close()
    if not await beside(functools.partial(pool.join, DRAIN)):
        logger.error("blocks are still being processed %s s after their scheduler went", DRAIN)
    for station in stations:
        await _release(station)


async def _drain(station: Station, pool: PriorityPool) -> None:
    if station.receiving is None and station.processing is None:
        return
    await beside(functools.partial(station.stop, abort=True))
    if station.blocks is not None and station.processing is not None:
        for frames in station.blocks.undone():
            await pool.run((0,), functools.partial(station.processing.process, frames))


async def _release(station: Station) -> None:
    try:
        async with asyncio.timeout(RELEASE):
            await beside(station.release)
    except TimeoutError:
        logger.error(
            "acquisition %s is not released on %s within %s s: its detector, receiver or a task "
            "hangs in close()", station.request.uuid, station.worker, RELEASE,
        )  # fmt: skip
