"""Python's search for garbage, in the processes that Dask starts."""

from __future__ import annotations

import gc
import time
from typing import Any

from distributed import Client

from limadask.cluster.link import Link
from limadask.cluster.local import process_cluster
from limadask.cluster.settings import GARBAGE, freeze_objects

STAY = 100_000
"""Objects that limadask's imports make, at least."""


def search() -> dict[str, Any]:
    """Tell how this process searches, and how long it takes, in seconds."""
    began = time.thread_time()
    gc.collect()
    took = time.thread_time() - began
    return {"thresholds": gc.get_threshold(), "frozen": gc.get_freeze_count(), "took": took}


def again() -> bool:
    """Tell whether a second time freezes more."""
    before, mine = gc.get_freeze_count(), [[number] for number in range(1000)]
    freeze_objects()
    return gc.get_freeze_count() > before + len(mine) // 2


def test_what_stays_is_not_searched() -> None:
    with process_cluster(1) as cluster, Client(cluster.address) as client:
        untouched = client.run_on_scheduler(search)
        Link.of(client)
        for told in (client.run_on_scheduler(search), *client.run(search).values()):
            assert told["thresholds"][:2] == GARBAGE[:2]  # Python 3.14 knows no third one
            assert told["frozen"] > STAY
            assert told["took"] < untouched["took"] / 2
        assert not client.run_on_scheduler(again)
    assert untouched["frozen"] == 0, "Python or Dask does it by now: it is not ours to do"


def test_a_user_s_process_and_one_that_does_not_search_are_left_alone(client: Client) -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    freeze_objects()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before
    with process_cluster(1) as cluster, Client(cluster.address) as other:
        other.run_on_scheduler(gc.set_threshold, 0)
        Link.of(other)
        assert other.run_on_scheduler(gc.get_freeze_count) == 0
