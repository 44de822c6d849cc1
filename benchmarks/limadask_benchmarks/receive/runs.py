"""Whole acquisitions of what a sender sends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from distributed import Client

import limadask as ld
from limadask_benchmarks.receive.bench import Bench
from limadask_benchmarks.receive.feed import Feed

NBYTES = 1 << 30
"""Bytes of the pools."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """What an acquisition took.

    Parameters
    ----------
    rate:
        Images a second, until the last one is processed.
    cpu:
        CPU seconds of all workers for a GB that was sent.
    """

    rate: float
    cpu: float


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
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        before = _cpu(client)
        sent = bench.send(series, frames, receivers)
        acquisition.wait(timeout=300)
        spent = _cpu(client) - before
    told: dict[str, Any] = acquisition.statistics()
    if told["frames"]["absent"]:
        raise RuntimeError(f"{told['frames']['absent']} frames are absent: no figure is worth it")
    return Acquired(frames / (told["ended"] - told["began"]), spent / sent.nbytes * 1e9)


def _cpu(client: Client) -> float:
    return float(sum(sum(times[:2]) for times in client.run(os.times).values()))
