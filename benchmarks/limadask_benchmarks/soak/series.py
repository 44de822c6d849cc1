"""Short acquisitions in a row: neither the pause between them nor anything else grows."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask.engine import coordinator
from limadask_benchmarks.results import Figure
from limadask_benchmarks.soak.trend import Trend
from limadask_benchmarks.soak.watch import RECORDS, Watch
from limadask_benchmarks.workload import camera
from limadask_tasks import RoiStatistics, SaveHdf5

Say = Callable[[str], object]
FRAMES, EXPOSURE = 20, 1e-3
TOPOLOGY = ld.Topology(receivers=1, workers=1, roles="separate")
"""As in the endless run: blocks of 1.3 MB go through shared memory."""
SAMPLES = 100
LEAST_PAUSE = 5.0
"""Milliseconds by which the pause may grow where it is quieter than that."""
KNOWN = ("_keys", "_finished", "_owners", "_batches", "_jobs")
"""What the scheduler's plugin holds of runs that go on."""


def series(say: Say, runs: int, kept: int = coordinator.KEPT_RUNS) -> list[Figure]:
    """Prepare, run and end acquisitions; return how the pauses grow, and everything else.

    Parameters
    ----------
    say:
        Told what goes on.
    runs:
        How many acquisitions.
    kept:
        How many the scheduler still knows of when they have ended: until there are as many, it
        grows.
    """
    warm = max(0.2, (kept + 5) / runs)
    moments, keys = list[float](), list[float]()
    with (
        process_cluster(2, 2, RECORDS) as cluster,
        Client(cluster.address) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        processes = {"scheduler": cluster.scheduler.pid, "client": os.getpid()}
        processes |= {name: one.pid for name, one in cluster.workers.items()}
        watch = Watch(processes)
        spans = [_exposed(client, folder)]
        client.run_on_scheduler(_keep, kept)
        for number in range(runs):
            spans.append(_exposed(client, folder))
            if number % max(1, runs // SAMPLES) == 0:
                watch.look()
                moments.append(time.monotonic())
                keys.append(client.run_on_scheduler(_counted))
    times = [first for first, _ in spans[1:]]
    pauses = [(after[0] - before[1]) * 1e3 for before, after in pairwise(spans)]
    pause = Trend.of(_medians(times, runs), _medians(pauses, runs), warm)
    known = Trend.of(moments, keys, warm)
    say(
        f"{runs} acquisitions, load {os.getloadavg()[0]:.1f}: pause {pause.level:.0f} ms, grown by "
        f"{pause.growth:+.1f}, noise {pause.noise:.0f}"
    )
    for name, trend in sorted(watch.trends("memory", warm).items()):
        say(f"{name}: {trend.level:.1f} MiB, grown by {trend.growth:+.2f}, noise {trend.noise:.2f}")
    return [
        pause.figure("series_pause", LEAST_PAUSE),
        known.figure("series_keys", 0.5),
        *watch.figures("series", warm),
    ]


def _exposed(client: Client, folder: str) -> tuple[float, float]:
    """Run an acquisition; return when its first exposure began and its last one ended, s."""
    pipe = ld.Pipeline()
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 32, 32)]))
    pipe.add(
        "file", SaveHdf5(folder=folder, prefix="run", file_exists_policy="overwrite"), after="input"
    )
    acquisition = ld.Acquisition(
        client, camera(256, 256), pipe, nb_frames=FRAMES, expo_time=EXPOSURE, topology=TOPOLOGY,
        buffers=ld.Buffers(nb_frames_per_block=10),
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    stamps = acquisition.ledger["timestamp"].values.astype(np.int64)
    return float(stamps[0]) / 1e9, float(stamps[-1]) / 1e9 + EXPOSURE


def _medians(values: list[float], runs: int) -> list[float]:
    """Return the medians of successive values: of single ones the machine's noise hides much."""
    size = max(1, runs // SAMPLES)
    return [float(np.median(values[at : at + size])) for at in range(0, len(values), size)]


def _keep(count: int) -> None:
    coordinator.KEPT_RUNS = count


def _counted(dask_scheduler: Any) -> int:
    """Return what Dask's scheduler, and our plugin in it, hold of tasks and runs."""
    plugin: Any = dask_scheduler.extensions["limadask"]
    mine = sum(len(getattr(plugin, name)) for name in KNOWN)
    theirs = dask_scheduler.tasks, dask_scheduler.task_groups, dask_scheduler.task_prefixes
    return mine + sum(map(len, theirs))
