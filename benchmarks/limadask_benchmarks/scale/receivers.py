"""What many receivers cost the scheduler: its CPU and its memory per block, at a paced rate.

The receivers are Dask workers, several in a process, and get tiny frames: only messages count.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil
from distributed import Client
from numpy.typing import NDArray

import limadask as ld
from limadask.cluster.local import environment, process_cluster
from limadask_benchmarks.results import Figure
from limadask_benchmarks.workload import camera
from limadask_tasks import Observe

Say = Callable[[str], object]
RECEIVERS = (1, 4, 16, 64)
BLOCKS = 10_000
RATE = 100.0
"""Blocks a second of all receivers together."""
PROCESSES = 2
LIMIT = 0.15
"""Share of a core that the scheduler may use."""
START = 60.0
MIB = 1 << 20


def receivers(
    say: Say, counts: Sequence[int] = RECEIVERS, blocks: int = BLOCKS, rate: float = RATE
) -> list[Figure]:
    """Measure ``blocks`` blocks for each number of receivers."""
    return [figure for count in counts for figure in _measure(count, blocks, rate, say)]


def _measure(count: int, blocks: int, rate: float, say: Say) -> list[Figure]:
    with _cluster(count) as (client, scheduler):
        _run(client, scheduler, count, max(2 * count, blocks // 10), rate)  # warm
        samples, seconds = _run(client, scheduler, count, blocks, rate)
    done, spent, held = samples.T
    share = (spent[-1] - spent[0]) / seconds
    tenth = blocks / 10
    first = np.interp(2 * tenth, done, spent) - np.interp(tenth, done, spent)
    last = np.interp(9 * tenth, done, spent) - np.interp(8 * tenth, done, spent)
    grown = np.interp(9 * tenth, done, held) - np.interp(tenth, done, held)
    say(
        f"{count} receivers: {share:.3f} of a core, {blocks / seconds:.0f} blocks/s, "
        f"{(spent[-1] - spent[0]) / blocks * 1e3:.2f} ms a block, {first / tenth * 1e3:.2f} in the "
        f"2nd tenth, {last / tenth * 1e3:.2f} in the 9th; {held[-1] / MIB:.0f} MiB, "
        f"{grown / (8 * tenth):.0f} bytes a block; load {os.getloadavg()[0]:.1f}"
    )
    return [
        Figure.cost(f"receivers_{count}_cpu", share, LIMIT),
        Figure.rate(f"receivers_{count}_growth", first / last, 1.0),
    ]


def _run(
    client: Client, scheduler: psutil.Process, count: int, blocks: int, rate: float
) -> tuple[NDArray[np.float64], float]:
    """Return blocks done, CPU seconds and memory of the scheduler, again and again; seconds."""
    pipe = ld.Pipeline()
    pipe.add("live", Observe())  # nothing that is kept of each block: by-products are
    dispatch = "round_robin" if count > 1 else "single"
    acquisition = ld.Acquisition(
        client, camera(16, 16), pipe, nb_frames=blocks, expo_time=1 / rate,
        buffers=ld.Buffers(nb_frames_per_block=1, nbytes=4 * MIB),
        topology=ld.Topology(receivers=count, workers=count, dispatch=dispatch),
    )  # fmt: skip
    samples: list[tuple[float, float, float]] = []

    def sample(done: int) -> None:
        times = scheduler.cpu_times()
        samples.append((done, times.user + times.system, scheduler.memory_info().rss))

    with acquisition:
        acquisition.prepare()
        sample(0)
        began = time.perf_counter()
        acquisition.start()
        acquisition.wait(
            timeout=START + 3 * blocks / rate, told=lambda one: sample(one["processed"])
        )
        seconds = time.perf_counter() - began
        sample(blocks)
    if absent := acquisition.statistics()["frames"]["absent"]:
        raise RuntimeError(f"{absent} frames are absent: the figures would be worthless")
    return np.array(samples), seconds


@contextmanager
def _cluster(count: int) -> Iterator[tuple[Client, psutil.Process]]:
    """Run a scheduler and ``count`` workers in a few processes."""
    hosts = min(PROCESSES, count)
    with ExitStack() as stack:
        cluster = stack.enter_context(process_cluster(0))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for number in range(hosts):
            own = count // hosts + (number < count % hosts)
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "limadask.cluster.many_workers", cluster.address,
                 str(own)],
                env={**os.environ, **environment(None)}, cwd=folder, stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(process.kill)
        client = stack.enter_context(Client(cluster.address))
        client.wait_for_workers(count, timeout=START)
        yield client, psutil.Process(cluster.scheduler.pid)
