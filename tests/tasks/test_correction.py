"""Neighbouring corrections in one pass give, to the last bit, what they give one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import chained, run
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import block, image, seeds

from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.pipeline import plan
from limadask.task import Task
from limadask_tasks import Background, Flatfield, Mask

TYPES = [
    ("u1", "u2", "float32"),
    ("u2", "u2", "float32"),
    ("u2", "f4", "float32"),
    ("u2", "f4", "float64"),
    ("u4", "f4", "float64"),
    ("i4", "u2", "float32"),
    ("f4", "u2", "float32"),
]
"""Type of the frames, of the background, and of the result of the flat-field."""


def corrections(
    kinds: str, seed: int, spec: Spec, dark: str, per_band: bool, wanted: str, normalize: bool
) -> list[Task]:
    shape = spec.frame_shape if per_band else spec.grid.shape
    random = np.random.default_rng(seed)
    made: dict[str, Task] = {
        "m": Mask(random.random(shape) < 0.3),
        "b": Background(image(seed + 1, shape, dark, top=1000)),
        "f": Flatfield(random.uniform(0.5, 2, shape), dtype=wanted, normalize=normalize),
    }
    return [made[kind] for kind in kinds]


@pytest.mark.parametrize("kinds", ["mb", "bf", "mf", "mbf"])
@pytest.mark.parametrize(("dtype", "dark", "wanted"), TYPES)
@given(per_band=st.booleans(), normalize=st.booleans(), seed=seeds)
@settings(max_examples=20)
def test_fused_equals_unfused(
    kinds: str, dtype: str, dark: str, wanted: str, per_band: bool, normalize: bool, seed: int
) -> None:
    spec = Spec(Grid((5, 7)), np.dtype(dtype), ("a", "b"))
    frames = block(seed, spec)
    tasks = corrections(kinds, seed, spec, dark, per_band, wanted, normalize)
    pipeline = chained(*tasks)
    names = [node.name for node in pipeline]
    fused = run(pipeline, [frames], spec)
    unfused = run(pipeline, [frames], spec, keep=names)
    assert [node.label for node in fused.plan.nodes] == ["+".join(names[:-1]), "out"]
    assert len(unfused.plan.nodes) == len(names)
    assert fused.frames.pixels.dtype == unfused.frames.pixels.dtype
    assert fused.frames.pixels.tobytes() == unfused.frames.pixels.tobytes()
    ends = [one.plan["out"].inputs[0] for one in (fused, unfused)]
    np.testing.assert_array_equal(ends[0].masked, ends[1].masked)


def merged(*tasks: Task) -> list[tuple[str, ...]]:
    spec = Spec(Grid((4, 4)), np.dtype("u2"))
    return [node.members for node in plan(chained(*tasks, collect=False), spec).nodes]


ONES: Any = np.ones((4, 4))


def test_only_corrections_in_their_order_are_merged() -> None:
    mask, background, flat = Mask(ONES * 0), Background(ONES), Flatfield(ONES)
    assert merged(mask, background, flat) == [("n0", "n1", "n2")]
    assert merged(background, mask) == [("n0",), ("n1",)]
    assert merged(flat, background) == [("n0",), ("n1",)]
    assert merged(mask, mask, flat) == [("n0",), ("n1", "n2")]
    assert merged(background, background) == [("n0",), ("n1",)]
    assert merged(flat, mask, flat) == [("n0",), ("n1", "n2")]


def test_a_type_asked_for_between_two_corrections_keeps_them_apart() -> None:
    cut = Background(ONES, dtype="u2")
    assert merged(cut, Flatfield(ONES)) == [("n0",), ("n1",)]
    assert merged(Mask(ONES * 0), cut, Flatfield(ONES)) == [("n0", "n1"), ("n2",)]


def test_a_merged_pass_tells_the_parameters_of_each_correction() -> None:
    spec = Spec(Grid((4, 4)), np.dtype("u2"))
    tasks = Mask(ONES * 0), Background(ONES), Flatfield(ONES, normalize=True)
    (node,) = plan(chained(*tasks, collect=False), spec).nodes
    told = node.effective()
    assert told.name == "n0+n1+n2"
    assert told.task == "correction"
    assert list(told.parameters) == ["mask", "background", "flatfield"]
    assert told.parameters["flatfield"]["normalize"] is True
    assert told.output == "4 × 4 float32"
