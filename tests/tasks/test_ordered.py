"""Tasks with a state, against a direct computation."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import image, lacking, seeds

import limadask as ld
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.pipeline import Pipeline, Program, plan
from limadask.task import result_of_run
from limadask_detectors import Simulator
from limadask_tasks import Accumulate, Difference, MinIntensity, MultiTau, Observe

SHAPE = 5, 7


def differences(pixels: NDArray[Any]) -> NDArray[Any]:
    wide = pixels.astype("i8" if pixels.dtype.kind != "f" else "f8")
    return np.diff(wide, axis=0, prepend=wide[:1])


@given(seed=seeds, dtype=st.sampled_from(("u1", "u2", "i4", "f4")), count=st.integers(1, 9))
def test_differences_go_on_from_block_to_block(seed: int, dtype: str, count: int) -> None:
    pixels = image(seed, (count, 2, *SHAPE), dtype)
    spec = Spec(Grid(SHAPE), np.dtype(dtype), ("a", "b"))
    task = Difference()
    state, step, found = task.init(spec), task.stepper(spec), []
    cut = count // 2
    for part in (pixels[:cut], pixels[cut:]):
        found += [step(state, Frames.of(part))] if len(part) else []
    together = np.concatenate(found)
    assert together.dtype == task.plan(spec).dtype
    np.testing.assert_allclose(together, differences(pixels), rtol=1e-6)


def test_a_pixel_that_a_frame_lacks_is_compared_with_the_last_one_that_has_it() -> None:
    spec = Spec(Grid(SHAPE), np.dtype("u2"))
    pixels = image(1, (5, 1, *SHAPE), "u2", 900)
    missing = np.zeros(SHAPE, bool)
    missing[1, 2:4] = True
    frames = lacking(Frames.of(pixels.copy()), {2: missing})
    pipe = Pipeline()
    pipe.add("difference", Difference())
    pipe.add("seen", Observe(history=9), after="difference")
    program = Program(plan(pipe, spec), ld.Policy())
    assert not program.run(frames).failures
    seen = program.writers["seen"].recent().values  # type: ignore[attr-defined]
    expected = differences(pixels)
    expected[2, :, missing] = np.iinfo(seen.dtype).max
    expected[3, 0, missing] = (pixels[3, 0].astype("i8") - pixels[1, 0])[missing]
    assert (seen == expected).all()


@pytest.mark.parametrize("nb_threads", [1, 2, 5])
@pytest.mark.parametrize("lacks", [False, True])
def test_threads_that_overtake_each_other_change_nothing(nb_threads: int, lacks: bool) -> None:
    large = 700, 800  # a frame a tile
    spec = Spec(Grid(large), np.dtype("u2"), nb_frames=48)
    pixels = image(2, (48, 1, *large), "u2", 900)
    pipe = Pipeline()
    pipe.add("difference", Difference())
    pipe.add("seen", Observe(history=48), after="difference")
    program = Program(plan(pipe, spec), ld.Policy())
    blocks = [Frames.of(pixels[first : first + 6].copy(), first) for first in range(0, 48, 6)]
    missing = np.zeros(large, bool)
    missing[3, 5:9] = lacks
    if lacks:
        blocks[3] = lacking(blocks[3], {20: missing})
    left, lock, failures = list(blocks), threading.Lock(), list[Any]()

    def work() -> None:
        while True:
            with lock:
                if not left:
                    return
                block = left.pop(0)
            failures.extend(program.run(block).failures)

    threads = [threading.Thread(target=work) for _ in range(nb_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    seen = program.writers["seen"].recent().values  # type: ignore[attr-defined]
    expected = differences(pixels)
    if lacks:
        expected[20, :, missing] = np.iinfo(seen.dtype).max
        expected[21, 0, missing] = (pixels[21, 0].astype("i8") - pixels[19, 0])[missing]
    assert (seen == expected).all()


def test_sums_come_in_order_wherever_frames_begin() -> None:
    pixels = image(8, (40, 1, *SHAPE), "u2", 900)
    numbers = [number for number in range(100, 150) if not 120 <= number < 130]
    data = ld.process(pixels, ld.Pipeline())["input"].assign_coords(frame=numbers)
    pipe = ld.Pipeline()
    pipe.add("sum", Accumulate(nb_frames=10))
    pipe.add("difference", Difference(), after="sum")
    found = ld.process(data, pipe)["difference"]
    sums = pixels.reshape(4, 10, 1, *SHAPE).sum(axis=1, dtype="u4")
    assert found["frame"].values.tolist() == [10, 11, 13, 14]
    assert (found.values == differences(sums)).all()


def test_vetoed_frames_make_no_pairs_and_no_errors() -> None:
    pixels = np.random.default_rng(9).poisson(3.0, (12, 1, *SHAPE)).astype("u2")
    pixels[4:8] = 0
    pipe = ld.Pipeline()
    pipe.add("bright", MinIntensity(statistic="mean", minimum=1))
    pipe.add("g2", MultiTau(array=REGIONS, channels=4, levels=1), after="bright")
    found = ld.process(pixels, pipe)
    assert not found.failures
    assert int(found["g2"]["frames"]) == 8
    assert int(found["g2"]["times"].sel(delay=1)) == 6


def test_a_look_at_the_result_changes_nothing() -> None:
    spec = Spec(Grid(SHAPE), np.dtype("u2"))
    pixels = np.random.default_rng(10).poisson(3.0, (400, 1, *SHAPE)).astype("u2")
    task = MultiTau(array=REGIONS, channels=4, levels=2)
    pipe = Pipeline()
    pipe.add("g2", task)
    program = Program(plan(pipe, spec), ld.Policy())
    step, over = program.lasting()["g2"], threading.Event()

    def look() -> None:
        while not over.is_set():
            step.state()

    looking = threading.Thread(target=look)
    looking.start()
    for first in range(0, 400, 4):
        assert not program.run(Frames.of(pixels[first : first + 4], first)).failures
    over.set()
    looking.join(30)
    found = result_of_run(program.plan["g2"].output, [step.state()])
    assert int(found["frames"]) == 400
    for delay, expected in direct(pixels, REGIONS, task).items():
        np.testing.assert_allclose(found["g2"].sel(delay=delay).values[0], expected, rtol=1e-5)


def test_saved_frames_may_begin_anywhere_and_have_gaps() -> None:
    pixels = image(4, (6, 1, *SHAPE), "u2", 900)
    data = ld.process(pixels, ld.Pipeline())["input"].assign_coords(frame=[7, 8, 9, 20, 21, 30])
    pipe = ld.Pipeline()
    pipe.add("difference", Difference())
    found = ld.process(data, pipe)["difference"]
    assert found["frame"].values.tolist() == [7, 8, 9, 20, 21, 30]
    assert (found.values == differences(pixels)).all()


@pytest.mark.parametrize(
    "topology",
    [
        ld.Topology(workers=2),
        ld.Topology(receivers=2, workers=2, dispatch="round_robin"),
        ld.Topology(roles="separate"),
    ],
)
def test_frames_in_order_are_not_scattered(client: Client, topology: ld.Topology) -> None:
    pipe = ld.Pipeline()
    pipe.add("difference", Difference())
    with pytest.raises(ld.ConfigError, match="'difference' needs all frames in order"):
        ld.Acquisition(
            client, Simulator(shape=(8, 8)), pipe, nb_frames=5, topology=topology
        ).prepare()


def direct(pixels: NDArray[Any], regions: NDArray[Any], task: MultiTau) -> dict[int, Any]:
    """g2 by region of every delay that has at least one pair, from the definition."""
    found: dict[int, Any] = {}
    images = pixels[:, 0].astype("f8")
    for level in range(task.levels):
        whole = len(images) >> level
        averaged = images[: whole << level].reshape(whole, 1 << level, *images.shape[1:]).mean(1)
        for k in range(task.channels // 2 if level else 1, task.channels):
            if k < whole:
                earlier, later = averaged[:-k], averaged[k:]
                found[k << level] = [
                    (earlier * later)[:, regions == one].mean()
                    / (earlier[:, regions == one].mean() * later[:, regions == one].mean())
                    for one in np.unique(regions[regions != 0])
                ]
    return found


REGIONS = np.zeros(SHAPE, "u1")
REGIONS[:2], REGIONS[3, 1:5] = 2, 5


@pytest.mark.parametrize(("channels", "levels", "count"), [(4, 3, 61), (8, 1, 9), (16, 4, 200)])
def test_correlations_agree_with_the_definition(channels: int, levels: int, count: int) -> None:
    task = MultiTau(array=REGIONS, channels=channels, levels=levels)
    pixels = np.random.default_rng(5).poisson(3.0, (count, 1, *SHAPE)).astype("u2")
    pipe = ld.Pipeline()
    pipe.add("g2", task)
    found = ld.process(pixels, pipe)["g2"]
    expected = direct(pixels, REGIONS, task)
    assert found["region"].values.tolist() == [2, 5]
    for delay in found["delay"].values.tolist():
        one = found["g2"].sel(delay=delay).isel(band=0).values
        if delay in expected:
            np.testing.assert_allclose(one, expected[delay], rtol=1e-6)
        else:
            assert np.isnan(one).all()
    assert int(found["frames"]) == count


def test_a_frame_that_is_absent_makes_no_pairs() -> None:
    pixels = np.random.default_rng(6).poisson(3.0, (12, 1, *SHAPE)).astype("u2")
    data = ld.process(pixels, ld.Pipeline())["input"]
    pipe = ld.Pipeline()
    pipe.add("g2", MultiTau(array=REGIONS, channels=4, levels=1))
    found = ld.process(data.isel(frame=[*range(5), *range(6, 12)]), pipe)["g2"]
    images = pixels[:, 0, REGIONS == 2].astype("f8")
    there = [t for t in range(12) if t != 5]
    pairs = [(t, t + 2) for t in there if t + 2 in there]
    earlier, later = (np.stack([images[one[end]] for one in pairs]) for end in (0, 1))
    expected = (earlier * later).mean() / (earlier.mean() * later.mean())
    assert float(found["g2"].sel(delay=2, region=2).item()) == pytest.approx(expected, rel=1e-6)
    assert int(found["times"].sel(delay=2)) == len(pairs)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "given by a path or an array"),
        ({"array": np.ones((2, 2), int)}, r"the regions are \(2, 2\) int64"),
        ({"array": np.zeros(SHAPE, int)}, "no pixel is in any region"),
        ({"array": REGIONS, "channels": 3}, "half of the delays"),
    ],
)
def test_regions_that_cannot_be_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ld.ConfigError, match=message):
        MultiTau(**fields).plan(Spec(Grid(SHAPE), np.dtype("u2")))


def test_a_run_on_a_cluster_is_correlated_in_order(client: Client) -> None:
    camera = Simulator(shape=(24, 32), photons=4.0)
    regions = np.zeros((24, 32), "u1")
    regions[4:12, 4:20] = 1
    task = MultiTau(array=regions, channels=8, levels=3)
    pipe = ld.Pipeline()
    pipe.add("g2", task)
    pipe.add("difference", Difference())
    pipe.add("sum", Accumulate(nb_frames=7), after="difference")
    pipe.add("seen", Observe(history=1000), after="difference")
    with ld.Acquisition(client, camera, pipe, nb_frames=150, expo_time=1e-3) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
        found = acquisition.data["g2"]
        seen = acquisition.observe["seen"].history()
    truth = np.stack([camera.frame(number).values for number in range(150)])
    assert (seen.values == differences(truth)).all()
    for delay, expected in direct(truth, regions, task).items():
        np.testing.assert_allclose(found["g2"].sel(delay=delay).values[0], expected, rtol=1e-5)
