"""The example in C++, compiled here, against NumPy and SciPy."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import numpy as np
import pytest
from harness import ran, reduced
from hypothesis import given, settings
from hypothesis import strategies as st
from native_library import compiled, medians
from strategies import block, dtypes, seeds, shapes

import limadask as ld
from limadask.frames import Frames, Labels, Spec
from limadask.geometry import Grid
from limadask_tasks import Mask

FIELDS: dict[str, Any] = {"factor": (float, 3.0), "offset": (float, 10.0)}
TABLE = {"hot": ld.Variable(("band",), np.dtype("i8")), "largest": "f8"}
LIBRARY = "libhot_pixels.so"
remove = ld.native_task(LIBRARY, "remove_hot_pixels", plan="same", parameters=FIELDS)
count = ld.native_task(LIBRARY, "count_hot_pixels", plan=TABLE, parameters=FIELDS)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled("hot_pixels.cpp", tmp_path_factory.mktemp("native"))


@settings(max_examples=25)
@given(shapes(), dtypes, st.booleans(), seeds)
def test_it_agrees_with_scipy(
    library: str, shape: tuple[int, int], dtype: str, masks: bool, seed: int
) -> None:
    spec = Spec(Grid(shape), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec, top=100)
    before = frames.pixels.copy()
    masked = (np.random.default_rng(seed).random(shape) < 0.2) if masks else np.zeros(shape, bool)
    fields = {"library": library, "factor": 1.5, "offset": 4.0}
    around = medians(before, masked)
    hot = (before > 1.5 * around + 4.0) & ~masked
    wanted = np.where(hot, around, before).astype(dtype)
    wanted[:, :, masked] = spec.fill
    tasks = [Mask(masked)] if masks else []
    np.testing.assert_array_equal(ran(spec, frames, *tasks, remove(**fields)).frames.pixels, wanted)
    np.testing.assert_array_equal(frames.pixels, before)
    found = reduced(spec, frames, *tasks, count(**fields))
    np.testing.assert_array_equal(found["hot"], hot.sum((2, 3)))
    others = np.where(hot | masked, -np.inf, before.astype("f8"))
    np.testing.assert_array_equal(found["largest"], others.max((2, 3)))


def test_the_example_is_not_trivial(library: str) -> None:
    spec = Spec(Grid((5, 6)), np.dtype("u2"))
    frames = Frames.of(np.full((1, 1, 5, 6), 7, "u2"))
    frames.pixels[0, 0, 2, 3] = 900
    assert ran(spec, frames, remove(library=library)).frames.pixels.max() == 7
    assert reduced(spec, frames, count(library=library))["hot"].tolist() == [[1]]


def test_it_is_a_value_and_can_be_pickled(library: str) -> None:
    task = remove(library=library, factor=2)
    assert task == remove(library=library, factor=2.0)
    twin = pickle.loads(cloudpickle.dumps(task))
    spec = Spec(Grid((8, 9)), np.dtype("u2"))
    frames = block(3, spec, 2)
    np.testing.assert_array_equal(twin(Labels(spec)(frames)), ran(spec, frames, task).frames.pixels)
