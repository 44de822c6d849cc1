"""How throughput grows with the workers: 1, 2, 4 and 8 that receive and process, a thread each.

Held against the bare loop with as many threads that process; one more of its threads receives, for
all of them. All receivers together have pools as large as its ring.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_benchmarks.results import Figure, paired, paired_cost
from limadask_benchmarks.scale.topologies import measure
from limadask_benchmarks.spine import bare_loop

Say = Callable[[str], object]
COUNTS = (1, 2, 4, 8)
FRAMES = 6000
REPEATS = 5


def workers(
    say: Say, counts: Sequence[int] = COUNTS, frames: int = FRAMES, repeats: int = REPEATS
) -> list[Figure]:
    """Measure each number of workers for which there are cores."""
    cores = os.cpu_count() or 1
    for count in counts:
        if count > cores:
            say(f"{count} workers: skipped, there are {cores} cores")
    measured = [count for count in counts if count <= cores]
    return [figure for count in measured for figure in _against_bare(count, frames, repeats, say)]


def _against_bare(count: int, frames: int, repeats: int, say: Say) -> list[Figure]:
    """Measure throughput, and CPU seconds of all processes, in turn with the bare loop."""
    topology = ld.Topology(receivers=count, workers=count, dispatch="round_robin")
    rates, costs = list[tuple[float, float]](), list[tuple[float, float]]()
    with process_cluster(count) as cluster, Client(cluster.address) as client:
        measure(cluster, client, topology, frames // 10)  # warm
        for _ in range(repeats):
            bare, bare_cpu = bare_loop(frames, None, count)
            rate, cpu = measure(cluster, client, topology, frames)
            rates.append((rate, bare))
            costs.append((cpu, bare_cpu))
            say(
                f"{count} workers: {rate:.0f} frames/s, {cpu * 1e3:.2f} ms of CPU a frame; bare "
                f"loop {bare:.0f}, {bare_cpu * 1e3:.2f} ms; load {os.getloadavg()[0]:.1f}"
            )
    return [paired(f"workers_{count}", rates), paired_cost(f"workers_{count}_cpu", costs)]
