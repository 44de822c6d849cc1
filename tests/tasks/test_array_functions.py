"""Functions of bare arrays as tasks: one function, several libraries."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask_detectors import Simulator
from limadask_tasks import Observe

SPEC = Spec(Grid((6, 8)), np.dtype("u2"), ("low", "high"))
LIBRARIES = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"no {name} here"))
    for name in ("numpy", "array_api_strict", "torch")
]


def halved_and_counted(arrays: str, **options: Any) -> tuple[Any, Any]:
    """The same two functions for any library."""

    @ld.task(arrays=arrays, **options)
    def halved(frames: Any, divisor: int = 2) -> Any:
        return frames // divisor

    @ld.task(arrays=arrays, **options)
    def brightest(frames: Any) -> Any:
        if arrays == "torch":
            return {"top": frames.amax(dim=(2, 3))}
        if arrays == "array_api_strict":
            import array_api_strict

            return {"top": array_api_strict.max(frames, axis=(2, 3))}
        return {"top": frames.max(axis=(2, 3))}

    return halved, brightest


@pytest.mark.parametrize("arrays", LIBRARIES)
def test_one_function_serves_libraries(arrays: str) -> None:
    halved, brightest = halved_and_counted(arrays)
    pixels = np.random.default_rng(1).integers(0, 900, (5, 2, 6, 8)).astype("i4")
    pipe = ld.Pipeline()
    pipe.add("half", halved(divisor=3))
    pipe.add("top", brightest(), after="half")
    found = ld.process(pixels, pipe, keep=["half"])
    assert (found["half"].values == pixels // 3).all()
    assert found["top"]["top"].dims == ("frame", "band")
    assert (found["top"]["top"].values == (pixels // 3).max(axis=(2, 3))).all()


def test_it_is_planned_by_a_trial_or_as_promised() -> None:
    halved, brightest = halved_and_counted("numpy")
    assert halved().plan(SPEC) == SPEC or halved().plan(SPEC).dtype == SPEC.dtype
    assert list(brightest().plan(SPEC).variables) == ["top"]
    promised, _ = halved_and_counted("numpy", plan="u2")
    assert promised().plan(SPEC).dtype == "u2"


def test_what_it_returns_is_held_against_the_promise() -> None:
    halved, _ = halved_and_counted("numpy", plan={"other": "f8"})
    pipe = ld.Pipeline()
    pipe.add("half", halved())
    found = ld.process(np.ones((2, 1, 4, 4), "u2"), pipe)
    assert "planned by-products and returned an array" in found.failures[0].text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arrays": "no_such_library"}, "no library 'no_such_library' here"),
        ({"arrays": "numpy", "device": "gpu"}, "used on the CPU alone"),
    ],
)
def test_what_is_not_there_is_told_beforehand(options: Any, message: str) -> None:
    halved, _ = halved_and_counted(options.pop("arrays"), **options)
    with pytest.raises(ld.ConfigError, match=message):
        halved().plan(SPEC)


def test_a_function_that_raises_or_changes_the_shape_is_refused() -> None:
    @ld.task(arrays="numpy")
    def cut(frames: Any) -> Any:
        return frames[:, :, 1:]

    @ld.task(arrays="numpy")
    def broken(frames: Any) -> Any:
        return frames.no_such_method()

    with pytest.raises(ld.ConfigError, match="must return frames of the shape it gets"):
        cut().plan(SPEC)
    with pytest.raises(ld.ConfigError, match="failed on a blank frame"):
        broken().plan(SPEC)


def test_a_task_for_gpus_is_not_given_to_workers_without(client: Client) -> None:
    halved, _ = halved_and_counted("cupy", device="gpu", plan="same")
    pipe = ld.Pipeline()
    pipe.add("half", halved())
    with pytest.raises(ld.ConfigError, match="0 worker\\(s\\) with the role 'gpu'"):
        ld.Acquisition(client, Simulator(shape=(8, 8)), pipe, nb_frames=2).prepare()


def test_it_runs_on_a_cluster(client: Client) -> None:
    halved, brightest = halved_and_counted("numpy")
    camera = Simulator(shape=(32, 24), bands=["low", "high"])
    pipe = ld.Pipeline()
    pipe.add("half", halved())
    pipe.add("top", brightest(), after="half")
    pipe.add("seen", Observe(history=50), after="half")
    with ld.Acquisition(client, camera, pipe, nb_frames=30, expo_time=1e-3) as acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait()
        top, seen = acquisition.data["top"], acquisition.observe["seen"].history()
    truth = np.stack([camera.frame(number).values for number in range(30)]) // 2
    assert (seen.values == truth).all()
    assert (top["top"].values == truth.max(axis=(2, 3))).all()
