"""A run without end at 80 % of the highest rate, and what grows meanwhile."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from distributed import Client

import limadask as ld
from limadask.cluster.local import ProcessCluster, process_cluster
from limadask_benchmarks.results import Figure
from limadask_benchmarks.soak.leaking import Leak, Leaking
from limadask_benchmarks.soak.watch import RECORDS, Sample, Watch, left_behind
from limadask_benchmarks.workload import camera, corrections
from limadask_tasks import Crop, SaveHdf5

Say = Callable[[str], object]
SHAPE = (2048, 2048)
SHARE = 0.8
"""Of the highest rate."""
CALIBRATION = 4.0
"""Seconds that finding the highest rate takes, about."""
SAMPLES = 300
SHORTEST = 0.2
"""Seconds between two looks, at least."""
TOPOLOGY = ld.Topology(workers=1, roles="separate")
"""A receiver, and a worker that gets all blocks through shared memory."""
BUFFERS = ld.Buffers(nbytes=512 << 20)
ENDING = 60.0
"""Seconds that everything may take to be given back."""


def endless(say: Say, seconds: float, sabotage: str = "") -> list[Figure]:
    """Run for ``seconds``; return the growth of each process, and what was left behind."""
    before = left_behind(())
    with _cluster() as (cluster, client), tempfile.TemporaryDirectory() as folder:
        rate = _highest_rate(client, folder)
        say(f"highest rate {rate:.0f} frames/s; {seconds:g} s at {SHARE:.0%} of it; load {_load()}")
        processes = {"scheduler": cluster.scheduler.pid, "client": os.getpid()}
        processes |= {name: one.pid for name, one in cluster.workers.items()}
        watch = Watch(processes, max(SHORTEST, seconds / SAMPLES))
        idle = watch.now()
        with watch:
            told = _run(client, folder, rate, seconds, sabotage)
        counts = told["frames"]
        say(f"{counts['present']} frames, {counts['absent']} of them absent; load {_load()}")
        for name, trend in sorted(watch.trends("memory").items()):
            say(
                f"{name}: {trend.level:.0f} MiB, grown by {trend.growth:+.2f}, "
                f"noise {trend.noise:.2f}; {trend.growth / seconds * 3600:+.1f} MiB/h"
            )
        kept = _settled(watch, idle)
    left = left_behind(processes.values()) - before
    say(f"left in use by processes after the run: {kept}; files left behind: {sorted(left)}")
    return [
        *watch.figures("soak"),
        Figure.none_of("soak_absent", counts["absent"], sum(counts.values())),
        Figure.none_of("soak_left_in_use", sum(kept.values()), 1),
        Figure.none_of("soak_left_behind", len(left), 1),
    ]


def pipeline(folder: str, sabotage: str = "") -> ld.Pipeline:
    """Return what is done: corrected, and a small part of each frame saved.

    There are no by-products, since all of them are kept for the user.
    """
    mask, flat = corrections(*SHAPE)
    pipe = ld.Pipeline()
    pipe.add("masked", mask)
    pipe.add("flat", flat, after="masked")
    parent = "flat"
    if sabotage:
        pipe.add("leaking", Leaking(leak=cast(Leak, sabotage)), after=parent)
        parent = "leaking"
    pipe.add("part", Crop(y=64, x=64, height=16, width=16), after=parent)
    pipe.add("file", SaveHdf5(folder=folder, file_exists_policy="overwrite",
                              nb_frames_per_file=10_000), after="part")  # fmt: skip
    return pipe


def _highest_rate(client: Client, folder: str) -> float:
    """Return frames a second that are processed as fast as it goes; the second try counts."""
    frames, rate = 200, 0.0
    for _ in range(2):
        acquisition = ld.Acquisition(
            client, camera(*SHAPE), pipeline(folder), nb_frames=frames, expo_time=0,
            topology=TOPOLOGY, buffers=BUFFERS,
        )  # fmt: skip
        with acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait()
        told = acquisition.statistics()
        rate = frames / (told["ended"] - told["began"])
        frames = max(200, int(rate * CALIBRATION))
    return rate


def _run(client: Client, folder: str, rate: float, seconds: float, sabotage: str) -> dict[str, Any]:
    """Run at a share of the rate, stop after a time; return the statistics."""
    acquisition = ld.Acquisition(
        client, camera(*SHAPE), pipeline(folder, sabotage), nb_frames=0,
        expo_time=1 / (SHARE * rate), topology=TOPOLOGY, buffers=BUFFERS,
    )  # fmt: skip
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            with suppress(ld.StalledError):  # no error but the time that is over
                acquisition.wait(timeout=min(left, 60.0))
        acquisition.stop()
        acquisition.wait(timeout=120)
    return acquisition.statistics()


def _settled(watch: Watch, idle: dict[str, Sample]) -> dict[str, int]:
    """Wait until all has been given back; return what processes still have more than before."""
    deadline = time.monotonic() + ENDING
    while True:
        now = watch.now()
        more = {
            "segments": sum(max(0, now[one].segments - idle[one].segments) for one in idle),
            "descriptors": sum(
                max(0, now[one].descriptors - idle[one].descriptors - 1) for one in idle
            ),
        }
        if not any(more.values()) or time.monotonic() > deadline:
            return more
        time.sleep(0.2)


@contextmanager
def _cluster() -> Iterator[tuple[ProcessCluster, Client]]:
    with process_cluster(2, 2, RECORDS) as cluster, Client(cluster.address) as client:
        yield cluster, client


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
