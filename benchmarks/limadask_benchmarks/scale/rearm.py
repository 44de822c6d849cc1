"""Re-arm: from the end of the last exposure to the first of the next acquisition, prepared before.

Measured by the times of the frames themselves, when nothing else happens, and while a backlog of an
earlier acquisition keeps all threads of the worker busy with Python code, the worst neighbour.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_benchmarks.results import Figure
from limadask_benchmarks.workload import camera
from limadask_tasks import RoiStatistics

Say = Callable[[str], object]
IDLE, BUSY = 100.0, 300.0
"""Milliseconds that it may take."""
EXPOSURE = 2e-3
FRAMES = 200
"""Enough of them that the next one is prepared before the last."""
REPEATS = 15
THREADS = 2
WORK = 0.05
"""Seconds of a block of the backlog."""
BACKLOG = 90.0
"""Seconds of work for all threads that wait when measuring begins."""
LEAST_BACKLOG = 20.0
"""Seconds of it that must be left when measuring ends."""


class Busy(ld.Task):
    """Burns time in Python, holding its lock."""

    seconds: float = WORK

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        """Return a copy, late."""
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return block.copy()


def rearm(say: Say) -> list[Figure]:
    """Measure by a batch, and by a client that waits and starts."""
    with process_cluster(1, threads=THREADS) as cluster, Client(cluster.address) as client:
        _by_batch(client, 3)  # warm
        idle = [
            _told("rearm_idle", IDLE, _by_batch(client, REPEATS), say),
            _told("rearm_idle_client", IDLE, _by_client(client, REPEATS), say),
        ]
        with _backlog(client, say) as backlog:
            busy = [
                _told("rearm_backlog", BUSY, _by_batch(client, REPEATS), say),
                _told("rearm_backlog_client", BUSY, _by_client(client, REPEATS), say),
            ]
            left = _seconds_left(backlog)
            say(f"backlog: {left:.0f} s of work left at the end")
            if left < LEAST_BACKLOG:
                raise RuntimeError("the backlog got too small: the figures are worthless")
    return [*idle, *busy]


def _by_batch(client: Client, count: int) -> list[float]:
    """Return the pauses of a batch, ms."""
    with ld.Batch(client) as batch:
        for _ in range(count + 1):
            batch.add(_acquisition(client))
        batch.start()
        batch.wait(timeout=120)
        return [_pause(one, next_) for one, next_ in pairwise(batch)]


def _by_client(client: Client, count: int) -> list[float]:
    """Return the pauses of acquisitions that a client prepares ahead and starts, ms."""
    pauses = []
    for _ in range(count):
        with _acquisition(client) as one, _acquisition(client) as next_:
            one.prepare()
            next_.prepare()
            one.start()
            one.wait("acquired", timeout=60)
            next_.start()
            for each in (one, next_):
                each.wait(timeout=60)
            pauses.append(_pause(one, next_))
    return pauses


def _acquisition(client: Client) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 32, 32)]))
    return ld.Acquisition(
        client, camera(256, 256), pipe, nb_frames=FRAMES, expo_time=EXPOSURE,
        buffers=ld.Buffers(nb_frames_per_block=10),
    )  # fmt: skip


def _backlog(client: Client, say: Say) -> ld.Acquisition:
    """Return an acquisition that is acquired, and whose processing takes its time."""
    pipe = ld.Pipeline()
    pipe.add("busy", Busy())
    blocks = int(BACKLOG / WORK * THREADS)
    acquisition = ld.Acquisition(
        client, camera(64, 64), pipe, nb_frames=blocks, expo_time=0,
        buffers=ld.Buffers(nb_frames_per_block=1),
    )  # fmt: skip
    acquisition.prepare()
    acquisition.start()
    acquisition.wait("acquired", timeout=60)
    say(f"backlog: {_seconds_left(acquisition):.0f} s of work wait")
    return acquisition


def _seconds_left(acquisition: ld.Acquisition) -> float:
    told = acquisition.statistics()
    return float(told["received"] - told["processed"]) * WORK / THREADS


def _pause(one: ld.Acquisition, next_: ld.Acquisition) -> float:
    """Return the time between two acquisitions as their frames tell it, ms."""
    last, first = (each.ledger["timestamp"].values.astype(np.int64) for each in (one, next_))
    return float(first[0] - last[-1]) / 1e6 - EXPOSURE * 1e3


def _told(what: str, limit: float, pauses: Sequence[float], say: Say) -> Figure:
    """Return the figure of the slowest: the limit holds for each."""
    low, median, high = np.percentile(pauses, (0, 50, 100))
    say(f"{what}: median {median:.1f} ms, {low:.1f} to {high:.1f}, limit {limit:.0f}")
    return Figure.cost(what, float(high), limit, len(pauses))
