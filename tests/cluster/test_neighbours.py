"""Runs beside each other: who waits for whom, and who gets the blocks."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator

SHAPE = (64, 48)
ONE = ld.Buffers(nb_frames_per_block=1)


class Working(ld.Task):
    """Takes its time without the processor, and writes down who began which frame when."""

    seconds: float
    log: str

    def __call__(self, block: xr.DataArray) -> xr.DataArray:
        with Path(self.log).open("a") as log:
            log.write(f"{os.getpid()} {time.time()} {int(block['frame'][0])}\n")
        threading.Event().wait(self.seconds)
        return block.copy()


def working(client: Client, log: Path, seconds: float, **fields: Any) -> ld.Acquisition:
    pipe = ld.Pipeline()
    pipe.add("working", Working(seconds=seconds, log=str(log)))
    given = {"buffers": ONE, "expo_time": 1e-3, **fields}
    return ld.Acquisition(client, Simulator(shape=SHAPE), pipe, **given)


def run_newest_beside(old: ld.Acquisition, newest: ld.Acquisition) -> None:
    """Let the newest run to its end while there is a backlog of the old one."""
    old.prepare()
    newest.prepare()
    old.start()
    old.wait("acquired", timeout=60)
    newest.start()
    newest.wait(timeout=60)


def begun(log: Path) -> list[tuple[int, float, int]]:
    """Return process, time and frame of each block, as they began."""
    rows = [line.split() for line in log.read_text().splitlines()]
    return [(int(process), float(time), int(frame)) for process, time, frame in rows]


def test_a_backlog_keeps_its_patience_when_a_newer_run_has_ended(tmp_path: Path) -> None:
    """It waits longer than its own patience; its next block takes longer than a look."""
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        old = working(client, tmp_path / "old", 0.6, nb_frames=8, stall_timeout=1.5)
        newest = working(client, tmp_path / "newest", 0.15, nb_frames=20)
        with old, newest:
            run_newest_beside(old, newest)
            left = 8 - old.statistics()["processed"]
            old.wait(timeout=60)
        assert left > 1  # it did wait
        assert old.record().counts()["present"] == 8


def test_the_newest_waits_for_one_block_on_separate_workers(tmp_path: Path) -> None:
    """Receivers send only so many blocks at a time; between them no backlog may slip in."""
    logs = tmp_path / "old", tmp_path / "newest"
    topology = ld.Topology(workers=1, roles="separate")
    names: dict[str, tuple[str, ...]] = {"rx-0": (), "rx-1": (), "proc-0": ()}
    with process_cluster(names) as cluster, Client(cluster.address) as client:
        old = working(client, logs[0], 0.2, nb_frames=60, topology=topology)
        newest = working(client, logs[1], 0.0, nb_frames=20, expo_time=0.05, topology=topology)
        with old, newest:
            run_newest_beside(old, newest)
            old.abort()
        software = [one.parameters.software for one in (old, newest)]
        assert software[0] is not None
        assert software[1] is not None
        assert software[0].processors == software[1].processors
        ready = newest.ledger["timestamp"].values.astype("i8") / 1e9 + 0.05
    backlog = np.array([time for _, time, _ in begun(logs[0])])
    slipped = [
        np.count_nonzero((backlog > ready[frame]) & (backlog < when))
        for _, when, frame in begun(logs[1])
    ]
    assert len(slipped) == 20
    assert np.median(slipped) <= 1


def test_a_receiver_that_also_processes_shares_its_blocks_with_the_others(tmp_path: Path) -> None:
    """At a rate that two workers bear and one does not, the pool stays free."""
    log, free = tmp_path / "log", list[int]()
    buffers = ld.Buffers(nb_frames_per_block=1, nbytes=16 * 64 * 48 * 2)
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        acquisition = working(
            client, log, 0.2, nb_frames=40, expo_time=0.14, buffers=buffers,
            topology=ld.Topology(workers=2),
        )  # fmt: skip
        with acquisition:
            acquisition.prepare()
            acquisition.start()
            acquisition.wait(
                timeout=60, told=lambda told: free.extend(one or 0 for one in told["free"].values())
            )
        assert acquisition.record().counts()["present"] == 40
    shares = Counter(process for process, *_ in begun(log))
    assert len(shares) == 2
    assert min(shares.values()) > 10
    assert np.median(free) > 8


def test_the_pool_of_a_receiver_is_the_bound_of_what_it_holds(tmp_path: Path) -> None:
    """Whatever the processing worker does: the receiver has its pool, the other its credits."""
    nbytes = 4 << 20
    camera = Simulator(shape=(1024, 2048))
    topology = ld.Topology(workers=1, roles="separate")
    pipe = ld.Pipeline()
    pipe.add("working", Working(seconds=0.05, log=str(tmp_path / "log")))
    with process_cluster(2) as cluster, Client(cluster.address) as client:
        for shared in (True, False):
            client.run(_share, shared)
            with ld.Acquisition(
                client, camera, pipe, nb_frames=60, expo_time=1e-3, topology=topology,
                buffers=ld.Buffers(nb_frames_per_block=1, nbytes=8 * nbytes),
            ) as acquisition:  # fmt: skip
                acquisition.prepare()
                before = client.run(_memory)
                acquisition.start()
                most = dict.fromkeys(before, 0)

                def told(status: dict[str, Any], most: dict[str, int] = most) -> None:
                    for worker, used in client.run(_memory).items():
                        most[worker] = max(most[worker], used)

                acquisition.wait(timeout=60, told=told)
            assert acquisition.record().counts()["present"] == 60
            grown = [(most[worker] - used) / nbytes for worker, used in before.items()]
            # 60 blocks went through: by its own copies the worker that processes may hold what
            # it is lent, and a result or two; scratch memory and Dask's own are within these
            assert max(grown) < 12, grown


def _share(wanted: bool) -> None:
    import dask

    dask.config.set({"limadask.shared-memory": wanted})


def _memory() -> int:
    """Return the memory of a worker's own, in bytes, without what is shared."""
    import psutil

    told = psutil.Process().memory_info()
    return int(told.rss - told.shared)
