"""``limadask bench reduce`` runs, on small numbers, and refuses results that differ."""

from __future__ import annotations

import pytest
from click import BadParameter

from limadask_benchmarks.reduce.integration import integration
from limadask_benchmarks.reduce.parts import PARTS, reduce
from limadask_benchmarks.reduce.rounds import Bench
from limadask_benchmarks.reduce.sparsify import sparsify


def test_every_way_to_split_is_held_against_pyfai() -> None:
    said: list[str] = []
    figures = integration(said.append, side=64, bins=20, frames=2, rounds=2)
    assert [one.what for one in figures] == [
        "bbox_default", "bbox_fastest", "bbox_default_poisson", "bbox_fastest_poisson",
        "no_fastest", "no_fastest_poisson",
    ]  # fmt: skip
    assert all(one.ratio > 0 and one.repeats == 2 for one in figures)
    assert all("results agree to" in line for line in said)
    assert len(said) == 2 * len(figures)


def test_results_that_differ_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(32, 10, 1)
    own = bench.own
    monkeypatch.setattr(bench, "own", lambda *given: lambda: own(*given)() * 1.0001)
    with pytest.raises(RuntimeError, match="results differ by"):
        bench.turns("no", None, 1)


def test_sparse_frames_are_held_against_copies_and_dense_files() -> None:
    said: list[str] = []
    figures = sparsify(said.append, shape=(64, 48), frames=2, rounds=3, saved=8)
    kinds = ["sparsify", "densify", "rate", "size"]
    assert [one.what for one in figures[:4]] == [f"{kind}_0.01%" for kind in kinds]
    assert len(figures) == 16
    assert all(one.ratio > 0 for one in figures)
    assert len(said) == 4


def test_parts_are_chosen_by_name() -> None:
    assert list(PARTS) == ["integration", "sparsify"]
    with pytest.raises(BadParameter, match="no part 'nothing'"):
        reduce(print, ["nothing"])
