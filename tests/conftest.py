"""What the tests share: one cluster of real processes for the whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client

from limadask.cluster.local import local_client


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """A client of a cluster with three workers."""
    with local_client(workers=3, memory_limit="2GiB") as client:
        yield client
