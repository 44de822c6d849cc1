"""What the tests of receivers that each have a part of every frame share, and of big blocks."""

from __future__ import annotations

import signal
from typing import Any

import dask
from distributed import Client

import limadask as ld
from limadask.cluster.local import process_cluster
from limadask_detectors import Simulator

CAMERA = Simulator(shape=(68, 48), modules=3, gap=4)
SMALL = ld.Buffers(nb_frames_per_block=5)


def partial(receivers: int, workers: int, roles: Any = "shared") -> ld.Topology:
    return ld.Topology(receivers=receivers, workers=workers, roles=roles, dispatch="partial")


def with_a_lost_worker(
    pipe: ld.Pipeline, who: str, sign: signal.Signals
) -> tuple[ld.Ledger, dict[str, str]]:
    """Run 400 frames, send a signal to one of ``who`` amid them; return ledger and files."""
    settings = {"limadask.worker-stale-after": 1.0}
    with process_cluster(5, settings=settings) as cluster, Client(cluster.address) as client:
        acquisition = ld.Acquisition(
            client, CAMERA, pipe, nb_frames=400, expo_time=5e-3,
            topology=partial(3, 2, "separate"), buffers=SMALL,
        )  # fmt: skip
        killed: list[object] = []

        def told(status: dict[str, Any]) -> None:
            if status["processed"] > 50 and not killed:
                killed.append(cluster.send(name, sign))

        with acquisition:
            acquisition.prepare()
            name = str(getattr(acquisition.parameters.software, who)[1])
            acquisition.start()
            acquisition.wait(told=told, timeout=60)
        return acquisition.record(), dict(acquisition.files)


def readers(client: Client) -> int:
    """How many workers read what others share."""

    def count(dask_worker: Any) -> int:  # travels as it is: workers cannot import this module
        return len(dask_worker.extensions["limadask"].transfers._readers)

    return sum(client.run(count).values())


def share(client: Client, is_wanted: bool) -> None:
    """Tell all workers whether they may share memory."""

    def tell() -> None:
        dask.config.set({"limadask.shared-memory": is_wanted})

    client.run(tell)
