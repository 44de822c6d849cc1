"""Declaring pipelines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from limadask.errors import ConfigError
from limadask.pipeline import Node, Pipeline
from limadask_tasks import Crop, Flip, Mask, RoiStatistics

FLIP = Flip(axis="y")


def refused(pipe: Pipeline, *arguments: Any, **more: Any) -> ConfigError:
    before = list(pipe)
    with pytest.raises(ConfigError) as caught:
        pipe.add(*arguments, **more)
    assert list(pipe) == before
    return caught.value


def test_nodes_are_kept_as_they_were_added() -> None:
    pipe = Pipeline()
    pipe.add("a", FLIP)
    pipe.add("b", FLIP, after="a", on_error="retry")
    pipe.add("c", FLIP, after=["a"])
    assert [node.name for node in pipe] == ["a", "b", "c"]
    assert len(pipe) == 3
    assert "b" in pipe
    assert "input" not in pipe
    assert pipe["b"] == Node("b", FLIP, ("a",), "retry")
    assert pipe["a"].after == ("input",)


def test_a_name_is_taken_once() -> None:
    pipe = Pipeline()
    pipe.add("a", FLIP)
    error = refused(pipe, "a", FLIP)
    assert (error.node, error.field, error.value) == ("a", "name", "a")
    assert error.allowed == "a name not used yet"


def test_input_belongs_to_the_detector() -> None:
    error = refused(Pipeline(), "input", FLIP)
    assert "detector" in str(error)
    assert (error.node, error.field) == ("input", "name")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "a+b", "ä!"])
def test_a_name_consists_of_letters_and_digits(name: str) -> None:
    error = refused(Pipeline(), name, FLIP)
    assert (error.field, error.value) == ("name", name)
    Pipeline().add("live_2-a", FLIP)


@pytest.mark.parametrize(
    ("what", "match"),
    [(Flip, "the class, not an instance"), (lambda block: block, "no task"), (None, "no task")],
    ids=["class", "function", "nothing"],
)
def test_a_node_is_an_instance_of_a_task(what: Any, match: str) -> None:
    error = refused(Pipeline(), "a", what)
    assert match in error.message
    assert (error.node, error.field, error.allowed) == ("a", "task", "a Task")
    with pytest.raises(ConfigError, match=match):
        Pipeline([Node("a", what)])


def test_a_node_comes_after_something() -> None:
    error = refused(Pipeline(), "a", FLIP, after=[])
    assert (error.node, error.field) == ("a", "after")


def test_an_unknown_policy_is_refused() -> None:
    error = refused(Pipeline(), "a", FLIP, on_error="explode")
    assert (error.node, error.field, error.value) == ("a", "on_error", "explode")
    assert error.allowed == ["abort", "mark", "retry"]


def test_a_parent_that_does_not_exist_is_named() -> None:
    pipe = Pipeline()
    pipe.add("a", FLIP, after="nowhere")
    with pytest.raises(ConfigError) as caught:
        pipe.ordered()
    error = caught.value
    assert (error.node, error.field, error.value) == ("a", "after", "nowhere")
    assert error.allowed == ["input"]
    with pytest.raises(ConfigError) as caught:
        pipe["nowhere"]
    assert caught.value.allowed == ["input", "a"]


def test_nodes_in_a_circle_are_named() -> None:
    pipe = Pipeline()
    pipe.add("free", FLIP)
    pipe.add("a", FLIP, after="b")
    pipe.add("b", FLIP, after="c")
    pipe.add("c", FLIP, after="a")
    with pytest.raises(ConfigError, match="circle") as caught:
        pipe.ordered()
    assert "['a', 'b', 'c']" in caught.value.message
    assert (caught.value.node, caught.value.field) == ("a", "after")
    alone = Pipeline()
    alone.add("a", FLIP, after="a")
    with pytest.raises(ConfigError, match="circle"):
        alone.ordered()


def test_parents_may_be_added_later_and_run_first() -> None:
    pipe = Pipeline()
    pipe.add("c", FLIP, after="b")
    pipe.add("a", FLIP)
    pipe.add("b", FLIP, after="a")
    pipe.add("d", FLIP)
    names = [node.name for node in pipe.ordered()]
    assert names.index("a") < names.index("b") < names.index("c")
    assert sorted(names) == ["a", "b", "c", "d"]


def test_relative_paths_are_taken_from_the_folder_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pipe = Pipeline()
    pipe.add("masked", Mask(path="mask.h5::/data"))
    assert pipe["masked"].task == Mask(path=f"{os.getcwd()}/mask.h5::/data")


def test_the_text_shows_the_tree_with_what_was_asked() -> None:
    pipe = Pipeline()
    pipe.add("flipped", FLIP)
    pipe.add("part", Crop(y=1, x=2, height=3, width=4), after="flipped")
    pipe.add("again", FLIP, after="part")
    pipe.add("stats", RoiStatistics(rois=[{"y": 0, "x": 0, "r1": 1, "r2": 2}]), after="flipped")
    pipe.add("other", FLIP)
    lines = repr(pipe).splitlines()
    assert lines[:4] == [
        "input",
        "├─ flipped: flip(axis=y)",
        "│  ├─ part: crop(y=1, x=2, height=3, width=4)",
        "│  │  └─ again: flip(axis=y)",
    ]
    assert lines[4].startswith("│  └─ stats: roi_statistics(rois=")
    assert lines[5:] == ["└─ other: flip(axis=y)"]
    assert repr(Pipeline()) == "input"


def test_a_copy_with_one_node_more_leaves_the_first_alone() -> None:
    pipe = Pipeline()
    pipe.add("a", FLIP)
    more = pipe.with_node(Node("b", FLIP, ("a",)))
    assert [node.name for node in more] == ["a", "b"]
    assert [node.name for node in pipe] == ["a"]
