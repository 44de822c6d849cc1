"""A cluster on this computer, made for acquisitions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import cpu_count

import dask
from distributed import Client, LocalCluster

_SETTINGS = {
    "distributed.worker.profile.enabled": False,  # samples every 10 ms, and sees none of our threads
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.work-stealing": False,  # tickets are pinned
}


@contextmanager
def local_client(workers: int = 1, memory_limit: str | int = "auto") -> Iterator[Client]:
    """Run a cluster of real processes on this computer, without a dashboard.

    Parameters
    ----------
    workers:
        Worker processes; the processor's cores are shared out among them.
    memory_limit:
        Bytes that each may use, ``auto`` for its share, 0 for any number.
    """
    threads = max(1, (cpu_count() or 1) // workers)
    with (
        dask.config.set(_SETTINGS),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address=None,
            memory_limit=memory_limit,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
