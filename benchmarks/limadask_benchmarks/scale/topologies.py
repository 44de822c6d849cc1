"""What each topology costs and gives, against the bare loop on the same cores.

Numbers as in the documentation: 1 is one process for everything, 2 one receiver and two processing
workers, 3 two receivers that also process, 4 two receivers and two processing workers. All
receivers together have pools as large as the ring of the bare loop.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack

import psutil
from distributed import Client

import limadask as ld
from limadask.cluster.local import ProcessCluster, process_cluster
from limadask_benchmarks.results import Figure, paired, paired_cost
from limadask_benchmarks.spine import POOL, bare_loop, pipeline, run

Say = Callable[[str], object]
TOPOLOGIES: Mapping[str, ld.Topology] = {
    "1": ld.Topology(),
    "2": ld.Topology(workers=2, roles="separate"),
    "3": ld.Topology(receivers=2, workers=2, dispatch="round_robin"),
    "4": ld.Topology(receivers=2, workers=2, roles="separate", dispatch="round_robin"),
}
FRAMES = 6000
REPEATS = 5
CORES = 2
"""Threads that process, as many as those of the bare loop."""


def topologies(say: Say, frames: int = FRAMES, repeats: int = REPEATS) -> list[Figure]:
    """Measure throughput, and CPU seconds of all processes, in turn with the bare loop."""
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in TOPOLOGIES}
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in TOPOLOGIES}
    with ExitStack() as stack:
        clusters = {}
        for name, topology in TOPOLOGIES.items():
            threads = CORES // topology.workers
            cluster = stack.enter_context(process_cluster(topology.nb_workers, threads))
            clusters[name] = cluster, stack.enter_context(Client(cluster.address))
            measure(*clusters[name], topology, frames // 10)  # warm
        for _ in range(repeats):
            bare, bare_cpu = bare_loop(frames, None)
            told = [f"bare loop {bare:.0f} frames/s, {bare_cpu * 1e3:.2f} ms of CPU a frame"]
            for name, topology in TOPOLOGIES.items():
                rate, cpu = measure(*clusters[name], topology, frames)
                rates[name].append((rate, bare))
                costs[name].append((cpu, bare_cpu))
                told.append(f"topology {name}: {rate:.0f}, {cpu * 1e3:.2f} ms")
            say(f"{'; '.join(told)}; load {os.getloadavg()[0]:.1f}")
    return [
        figure
        for name in TOPOLOGIES
        for figure in (
            paired(f"topology_{name}", rates[name]),
            paired_cost(f"topology_{name}_cpu", costs[name]),
        )
    ]


def measure(
    cluster: ProcessCluster, client: Client, topology: ld.Topology, frames: int
) -> tuple[float, float]:
    """Return frames a second, and CPU seconds a frame of all processes but the client's."""
    processes = [cluster.scheduler, *cluster.workers.values()]
    watched = [psutil.Process(one.pid) for one in processes]
    before = sum(map(_spent, watched))
    told = run(
        client, pipeline(None), nb_frames=frames, expo_time=0, topology=topology,
        buffers=ld.Buffers(nbytes=POOL // topology.receivers),
    )  # fmt: skip
    spent = sum(map(_spent, watched)) - before
    return frames / (told["ended"] - told["began"]), spent / frames


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
