"""Whole acquisitions of what a sender sends."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import NamedTuple

import psutil
from distributed import Client

import limadask as ld
from limadask_benchmarks.receive.bench import Bench
from limadask_benchmarks.receive.feed import Feed

NBYTES = 1 << 30
"""Bytes of the pools."""
PATIENCE = 300.0
"""Seconds that an acquisition may take."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """What an acquisition took.

    Parameters
    ----------
    rate:
        Images a second, from the first that are processed to the last.
    cpu:
        CPU seconds of all workers for a GB of them as they were sent.
    """

    rate: float
    cpu: float


class Sample(NamedTuple):
    """How many images were processed at a moment, and the CPU seconds spent until then."""

    moment: float
    done: int
    spent: float


def acquire(
    client: Client, bench: Bench, pipeline: ld.Pipeline, frames: int, receivers: int = 1
) -> Acquired:
    """Run an acquisition while a series is sent as fast as it is taken.

    Raises
    ------
    RuntimeError
        When images are absent.
    """
    images, series = bench.images, bench.next_series()
    detector = Feed(
        address=bench.address, series=series, stream=bench.stream, shape=images.shape,
        dtype=images.dtype, bands=images.bands,
    )  # fmt: skip
    topology = ld.Topology(
        receivers=receivers, workers=receivers, dispatch="dynamic" if receivers > 1 else "single"
    )
    acquisition = ld.Acquisition(
        client, detector, pipeline, nb_frames=frames, expo_time=0.0, topology=topology,
        buffers=ld.Buffers(nbytes=NBYTES),
    )  # fmt: skip
    workers = [psutil.Process(pid) for pid in client.run(os.getpid).values()]
    samples: list[Sample] = []

    def sample(done: int) -> None:
        if not samples or done > samples[-1].done:
            times = [one.cpu_times() for one in workers]
            spent = sum(one.user + one.system for one in times)
            samples.append(Sample(time.perf_counter(), done, spent))

    with acquisition:
        acquisition.prepare()
        acquisition.start()
        sample(0)
        bench.send(series, frames, receivers)
        acquisition.wait(timeout=PATIENCE, told=lambda told: sample(told["processed"]))
    sent = bench.sent()
    if absent := acquisition.statistics()["frames"]["absent"]:
        raise RuntimeError(f"{absent} frames are absent: the figures would be worthless")
    # what comes before the first images is no rate; but some runs are too short to be seen
    first, last = samples[1 if len(samples) > 2 else 0], samples[-1]
    done = last.done - first.done
    nbytes = done * sent.nbytes / sent.frames
    return Acquired(done / (last.moment - first.moment), (last.spent - first.spent) / nbytes * 1e9)
