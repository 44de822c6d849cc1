"""The parts of ``limadask bench scale`` run, on small numbers."""

from __future__ import annotations

from limadask_benchmarks.scale.receivers import receivers


def test_receivers_that_share_a_process_lose_no_frame() -> None:
    """Several Dask workers in one process each have a limadask of their own."""
    told: list[str] = []
    figures = receivers(told.append, counts=(4,), blocks=60, rate=100.0)
    assert [one.what for one in figures] == ["receivers_4_cpu", "receivers_4_growth"]
    assert figures[0].value > 0
    assert told[0].startswith("4 receivers")
