"""What the tests share: one cluster of real processes for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import pytest
from distributed import Client
from hypothesis import HealthCheck, settings

from limadask.cluster.child import server
from limadask.cluster.local import local_client

collect_ignore = ["plugin"]
"""A third party's package: its tests run where it is installed."""

# a worker that starts at once, forked: most of a test's time was that of imports
dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
server()

settings.register_profile(
    "limadask",
    deadline=None,  # kernels are compiled in the first example
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("limadask")


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """A client of a cluster with three workers."""
    with local_client(workers=3, memory_limit="2GiB") as client:
        yield client
