"""The parts of ``limadask bench scale`` run, on small numbers."""

from __future__ import annotations

from limadask_benchmarks.scale.receivers import receivers
from limadask_benchmarks.scale.topologies import topologies


def test_receivers_that_share_a_process_lose_no_frame() -> None:
    """Several Dask workers in one process each have a limadask of their own."""
    told: list[str] = []
    figures = receivers(told.append, counts=(4,), blocks=60, rate=100.0)
    assert [one.what for one in figures] == ["receivers_4_cpu", "receivers_4_growth"]
    assert figures[0].value > 0
    assert told[0].startswith("4 receivers")


def test_every_topology_is_held_against_the_bare_loop() -> None:
    told: list[str] = []
    figures = topologies(told.append, frames=60, repeats=1)
    names = [f"topology_{one}{what}" for one in "1234" for what in ("", "_cpu")]
    assert [one.what for one in figures] == names
    assert all(one.value > 0 and one.limit > 0 for one in figures)
    assert told[0].startswith("bare loop")
