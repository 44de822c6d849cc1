"""Results of a whole run, against NumPy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st
from strategies import image, lacking, seeds

import limadask as ld
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.pipeline import Pipeline, Program, plan
from limadask.task import Running, result_of_run
from limadask_detectors import Simulator
from limadask_tasks import Histogram, Maximum, Mean, MinIntensity, Variance

BANDS = ("low", "high")
SHAPE = 5, 7
DTYPES = st.sampled_from(("u1", "u2", "i4", "f4"))
TASKS = (Mean(), Variance(), Variance(ddof=1), Maximum(), Histogram(bins=7, low=-3, high=40))


def found(task: Running, spec: Spec, blocks: Sequence[Sequence[Frames]]) -> Any:
    """The result of several workers, each with some blocks."""
    pipe = Pipeline()
    pipe.add("whole", task)
    planned, states = plan(pipe, spec), []
    for some in blocks:
        program = Program(planned, ld.Policy())
        for block in some:
            assert not program.run(block).failures
        states.append(program.lasting()["whole"].state())
    return result_of_run(planned["whole"].output, states)


def check(task: Running, result: Any, pixels: Any, used: Any, spec: Spec) -> None:
    """Hold a result against NumPy; ``used`` is of the same shape as ``pixels``."""
    values = np.where(used, pixels.astype("f8"), np.nan)
    expected: dict[str, Any]
    if isinstance(task, Histogram):
        for band in range(len(spec.bands)):
            one = values[:, band]
            one = one[~np.isnan(one)]
            counts, _ = np.histogram(one, task.bins, (task.low, task.high))
            assert result["count"][band].values.tolist() == counts.tolist()
            assert int(result["below"][band]) == (one < task.low).sum()
            assert int(result["above"][band]) == (one > task.high).sum()
        return
    with np.errstate(all="ignore"):
        if isinstance(task, Mean):
            expected = {"mean": _nan(np.nanmean, values), "sum": _nan(np.nansum, values)}
            if spec.masked is not None:
                expected["sum"] = np.where(spec.masked, np.nan, expected["sum"])
        elif isinstance(task, Variance):
            variance = _nan(np.nanvar, values, ddof=task.ddof)
            expected = {"mean": _nan(np.nanmean, values), "variance": variance}
        else:
            top = np.where(used, pixels, np.iinfo("i8").min if spec.dtype.kind != "f" else -np.inf)
            top = top.max(axis=0)
            expected = {"maximum": np.where(used.any(axis=0), top, spec.fill)}
    for name, image_ in expected.items():
        there = used.any(axis=0) if name == "maximum" else slice(None)
        np.testing.assert_allclose(result[name].values[there], image_[there], rtol=1e-6, atol=1e-6)


def _nan(reduce: Any, values: Any, **fields: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy tells of pixels that no frame has
        return reduce(values, axis=0, **fields)


@given(
    seed=seeds, dtype=DTYPES, task=st.sampled_from(TASKS), masks=st.sampled_from((None, 2, 3)),
    split=st.lists(st.integers(1, 5), min_size=1, max_size=4), workers=st.integers(1, 3),
)  # fmt: skip
def test_any_split_over_blocks_and_workers_is_the_whole(
    seed: int, dtype: str, task: Running, masks: int | None, split: list[int], workers: int
) -> None:
    random = np.random.default_rng(seed)
    masked = None if masks is None else random.random((2, *SHAPE)[-masks:]) < 0.2
    spec = Spec(Grid(SHAPE), np.dtype(dtype), BANDS, masked=masked)
    count = sum(split)
    pixels = image(seed, (count, *spec.frame_shape), dtype, 60)
    blocks: list[list[Frames]] = [[] for _ in range(workers)]
    edges = np.cumsum([0, *split])
    for number, (first, last) in enumerate(pairwise(edges.tolist())):
        blocks[number % workers].append(Frames.of(pixels[first:last].copy(), first))
    result = found(task, spec, blocks)
    used = np.ones(pixels.shape, bool)
    if masked is not None:
        used &= ~masked
    check(task, result, pixels, used, spec)
    assert int(result["frames"]) == count


@given(seed=seeds, task=st.sampled_from(TASKS[:3]))
def test_pixels_that_single_frames_lack_are_left_out(seed: int, task: Running) -> None:
    random = np.random.default_rng(seed)
    spec = Spec(Grid(SHAPE), np.dtype("u2"), BANDS)
    pixels = image(seed, (6, *spec.frame_shape), "u2", 60)
    missing = {number: random.random(SHAPE) < 0.4 for number in (1, 4)}
    used = np.ones(pixels.shape, bool)
    for number, mask in missing.items():
        used[number] &= ~mask
    frames = Frames.of(pixels.copy())
    blocks = [[lacking(frames, missing)[0:3]], [lacking(frames, missing)[3:6]]]
    check(task, found(task, spec, blocks), pixels, used, spec)


def test_large_values_lose_no_digits_of_their_variance() -> None:
    random = np.random.default_rng(1)
    pixels = random.normal(1e9, 1.0, (200, 1, 4, 4))
    spec = Spec(Grid((4, 4)), np.dtype("f8"))
    result = found(Variance(), spec, [[Frames.of(pixels[:90])], [Frames.of(pixels[90:], 90)]])
    np.testing.assert_allclose(result["variance"].values, pixels.var(axis=0), rtol=1e-6)


def test_vetoed_frames_are_left_out() -> None:
    spec = Spec(Grid(SHAPE), np.dtype("u2"))
    pixels = np.zeros((4, 1, *SHAPE), "u2")
    pixels[2] = 9
    pipe = Pipeline()
    pipe.add("bright", MinIntensity(statistic="mean", minimum=5))
    pipe.add("mean", Mean(), after="bright")
    program = Program(plan(pipe, spec), ld.Policy())
    outcome = program.run(Frames.of(pixels))
    assert outcome.status().tolist() == [Status.VETOED] * 2 + [Status.PRESENT, Status.VETOED]
    result = result_of_run(program.plan["mean"].output, [program.lasting()["mean"].state()])
    assert (result["mean"] == 9).all()
    assert int(result["frames"]) == 1


def test_bins_without_a_width_are_refused() -> None:
    with pytest.raises(ld.ConfigError, match="leave no bins between them"):
        Histogram(low=3, high=3).plan(Spec(Grid(SHAPE), np.dtype("u2")))


def test_a_run_on_several_workers_has_one_result_that_grows(client: Client) -> None:
    camera = Simulator(shape=(48, 32), bands=list(BANDS), photons=3.0)
    pipe = ld.Pipeline()
    pipe.add("mean", Mean())
    pipe.add("variance", Variance())
    pipe.add("top", Maximum())
    pipe.add("histogram", Histogram(high=50))
    seen = []
    with ld.Acquisition(
        client, camera, pipe, nb_frames=200, expo_time=2e-3,
        topology=ld.Topology(receivers=1, workers=3),
    ) as acquisition:  # fmt: skip
        acquisition.prepare()
        assert int(acquisition.data["mean"]["frames"]) == 0
        acquisition.start()
        acquisition.wait(told=lambda told: seen.append(int(acquisition.data["mean"]["frames"])))
        results = {name: acquisition.data[name] for name in acquisition.data}
    assert seen == sorted(seen)
    truth = np.stack([camera.frame(number).values for number in range(200)])
    assert int(results["mean"]["frames"]) == 200
    assert results["mean"]["mean"].dims == ("band", "y", "x")
    assert "det_y" in results["mean"].coords
    np.testing.assert_allclose(results["mean"]["mean"], truth.mean(axis=0))
    assert (results["mean"]["sum"] == truth.sum(axis=0)).all()
    np.testing.assert_allclose(results["variance"]["variance"], truth.var(axis=0), atol=1e-9)
    assert (results["top"]["maximum"] == truth.max(axis=0)).all()
    assert int(results["histogram"][["count", "below", "above"]].sum().to_array().sum()) == (
        truth.size
    )


def test_saved_data_has_the_same_result() -> None:
    pixels = image(3, (9, 1, *SHAPE), "u2", 60)
    pipe = ld.Pipeline()
    pipe.add("mean", Mean())
    result = ld.process(pixels, pipe)["mean"]
    np.testing.assert_allclose(result["mean"], pixels.mean(axis=0))
