"""The parts of ``limadask bench scale`` run, on small numbers."""

from __future__ import annotations

import os

import pytest

from limadask_benchmarks.scale.receivers import receivers
from limadask_benchmarks.scale.topologies import topologies
from limadask_benchmarks.scale.workers import workers


def test_receivers_that_share_a_process_lose_no_frame() -> None:
    """Several Dask workers in one process each have a limadask of their own."""
    told: list[str] = []
    figures = receivers(told.append, counts=(4,), blocks=60, rate=100.0)
    assert [one.what for one in figures] == ["receivers_4_cpu", "receivers_4_growth"]
    assert figures[0].value > 0
    assert told[0].startswith("4 receivers")


@pytest.mark.soak
def test_every_topology_is_held_against_the_bare_loop() -> None:
    told: list[str] = []
    figures = topologies(told.append, frames=60, repeats=1)
    names = [f"topology_{one}{what}" for one in "1234" for what in ("", "_cpu")]
    assert [one.what for one in figures] == names
    assert all(one.value > 0 and one.limit > 0 for one in figures)
    assert told[0].startswith("bare loop")


def test_numbers_of_workers_are_measured_as_far_as_there_are_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    told: list[str] = []
    figures = workers(told.append, counts=(1, 4), frames=60, repeats=1)
    assert [one.what for one in figures] == ["workers_1", "workers_1_cpu"]
    assert all(one.value > 0 and one.limit > 0 for one in figures)
    assert told[0] == "4 workers: skipped, there are 2 cores"
    assert told[1].startswith("1 workers")
