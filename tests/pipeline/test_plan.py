"""Planning pipelines: what is merged, what is refused, where branches end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Collect, chained

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.geometry import Grid, Rect
from limadask.pipeline import Pipeline, Plan, plan
from limadask.task import Products, Task
from limadask_tasks import (
    Accumulate,
    Background,
    Crop,
    Flatfield,
    Flip,
    Mask,
    Observe,
    RoiStatistics,
    SaveHdf5,
)

SPEC = Spec(Grid((8, 10)), np.dtype("u2"), nb_frames=100)
ONES: Any = np.ones((8, 10))
STATS = RoiStatistics(rois=[Rect(0, 0, 2, 2)])


def corrections() -> Pipeline:
    pipe = Pipeline()
    pipe.add("mask", Mask(ONES * 0))
    pipe.add("dark", Background(ONES), after="mask")
    pipe.add("flat", Flatfield(ONES), after="dark")
    return pipe


def labels(planned: Plan) -> list[str]:
    return [node.label for node in planned.nodes]


def test_neighbours_share_one_pass() -> None:
    pipe = corrections()
    pipe.add("stats", STATS, after="flat")
    planned = plan(pipe, SPEC)
    assert labels(planned) == ["mask+dark+flat", "stats"]
    assert planned["dark"] is planned["flat"]
    assert planned["flat"].after == ("input",)
    assert [planned.has_output(name) for name in ("input", "mask", "dark", "flat")] == [
        True,
        False,
        False,
        True,
    ]
    assert planned.output("flat").dtype == np.dtype("f4")  # type: ignore[union-attr]


def test_a_node_with_two_consumers_keeps_its_output() -> None:
    pipe = corrections()
    pipe.add("stats", STATS, after="dark")
    assert labels(plan(pipe, SPEC)) == ["mask+dark", "flat", "stats"]


def test_a_node_that_is_wanted_keeps_its_output() -> None:
    assert labels(plan(corrections(), SPEC, keep=["mask"])) == ["mask", "dark+flat"]
    assert labels(plan(corrections(), SPEC, keep=["flat"])) == ["mask+dark+flat"]
    assert labels(plan(corrections(), SPEC, keep=["mask", "dark"])) == ["mask", "dark", "flat"]


def test_nodes_of_different_policies_are_not_merged() -> None:
    pipe = Pipeline()
    pipe.add("mask", Mask(ONES * 0), on_error="abort")
    pipe.add("dark", Background(ONES), after="mask", on_error="abort")
    pipe.add("flat", Flatfield(ONES), after="dark")
    planned = plan(pipe, SPEC)
    assert labels(planned) == ["mask+dark", "flat"]
    assert [node.on_error for node in planned.nodes] == ["abort", None]


@pytest.mark.parametrize("parent", ["stats", "file", "live"])
def test_nothing_comes_after_what_ends_a_branch(parent: str, tmp_path: Path) -> None:
    pipe = Pipeline()
    pipe.add("stats", STATS)
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    pipe.add("live", Observe())
    pipe.add("late", Flip(axis="y"), after=parent)
    with pytest.raises(ConfigError, match="yields no frames") as caught:
        plan(pipe, SPEC)
    error = caught.value
    assert (error.node, error.field, error.value) == ("late", "after", parent)
    assert error.allowed == "a node that yields frames"


def test_two_savers_of_the_same_files_are_refused(tmp_path: Path) -> None:
    pipe = Pipeline()
    pipe.add("one", SaveHdf5(folder=str(tmp_path), prefix="x"))
    pipe.add("other", SaveHdf5(folder=str(tmp_path), prefix="y"))
    plan(pipe, SPEC)
    pipe.add("two", SaveHdf5(folder=str(tmp_path / "z" / ".."), prefix="x"))
    with pytest.raises(ConfigError, match="same files as 'one'") as caught:
        plan(pipe, SPEC)
    assert (caught.value.node, caught.value.field) == ("two", "entry")


def test_a_task_gets_frames_from_as_many_nodes_as_it_says() -> None:
    class Difference(Task):
        nb_inputs = 2

        def plan(self, spec: Spec, other: Spec) -> Spec:  # type: ignore[override]
            return spec

    pipe = Pipeline()
    pipe.add("a", Flip(axis="y"))
    pipe.add("two", Flip(axis="x"), after=["input", "a"])
    with pytest.raises(ConfigError, match="gets frames from 1 node") as caught:
        plan(pipe, SPEC)
    assert (caught.value.node, caught.value.field) == ("two", "after")
    assert caught.value.value == ["input", "a"]

    pipe = Pipeline()
    pipe.add("one", Difference())
    with pytest.raises(ConfigError, match="gets frames from 2 node"):
        plan(pipe, SPEC)


def test_an_error_of_a_task_names_its_node() -> None:
    with pytest.raises(ConfigError) as caught:
        plan(chained(Flip(axis="y"), Crop(y=0, x=0, height=9, width=1)), SPEC)
    assert caught.value.node == "n1"


def test_branches_end_where_nobody_follows() -> None:
    pipe = Pipeline()
    pipe.add("a", Flip(axis="y"))
    pipe.add("b", Flip(axis="x"), after="a")
    pipe.add("out", Collect(), after="b")
    pipe.add("stats", STATS, after="a")
    pipe.add("all", STATS)
    planned = plan(pipe, SPEC)
    assert set(planned.ends()) == {"out", "stats", "all"}
    assert set(planned.ends("a")) == {"out", "stats"}
    assert planned.ends("b") == planned.ends("out") == ("out",)
    assert set(planned.ends("input")) == {"out", "stats", "all"}
    assert {node.name for node in planned.children("a")} == {"b", "stats"}


def test_what_comes_in_front_of_input_is_named_after_it() -> None:
    steps = [("crop", {"y": 1, "x": 2, "height": 4, "width": 5}), ("flip", {"axis": "y"})]
    pipe = Pipeline()
    pipe.add("stats", STATS)
    planned = plan(pipe, SPEC, steps)
    assert [node.name for node in planned.before] == ["input-1", "input"]
    assert [node.after for node in planned.before] == [("raw",), ("input-1",)]
    assert planned.source == "raw"
    assert planned.input.grid == SPEC.grid.crop(1, 2, 4, 5).flip("y")
    assert planned.raw is SPEC
    assert plan(pipe, SPEC).source == "input"


def test_frames_that_belong_together_are_a_common_multiple() -> None:
    def merged(*sizes: int) -> int:
        pipe = Pipeline()
        for number, size in enumerate(sizes):
            pipe.add(f"n{number}", Accumulate(nb_frames=size))
        return plan(pipe, SPEC).nb_merged

    assert merged() == 1
    assert merged(5) == 5
    assert merged(4, 6) == 12
    nested = plan(chained(Accumulate(nb_frames=4), Accumulate(nb_frames=3)), SPEC)
    assert nested.nb_merged == 12


def test_an_effective_node_tells_what_comes_out(tmp_path: Path) -> None:
    pipe = corrections()
    pipe.add("stats", STATS, after="flat")
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="flat")
    told = {node.name: node.effective() for node in plan(pipe, SPEC).nodes}
    assert told["flat"].output == "8 × 10 float32"
    assert told["stats"].output == "min, max, mean, std, sum, count"
    assert told["file"].output is None
    assert told["file"].parameters["prefix"] == "limadask"
    assert told["stats"].after == ("flat",)


def test_an_unknown_task_in_front_of_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="no task of this name"):
        plan(Pipeline(), SPEC, [("elephant", {})])


def test_products_promise_their_labels() -> None:
    pipe = Pipeline()
    pipe.add("stats", STATS)
    promised = plan(pipe, SPEC).output("stats")
    assert isinstance(promised, Products)
    assert promised.coordinates["roi"] == (("roi",), ["0"])
