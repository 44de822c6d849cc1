"""Whatever stands in a configuration, what is wrong is one error that names it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import limadask as ld

GOOD: dict[str, Any] = {
    "detector": {
        "type": "simulator", "shape": [40, 32], "bands": ["a", "b"], "modules": 2, "gap": 8,
        "faults": {"drop": [3]}, "growth": 0.5,
    },
    "acquisition": {
        "nb_frames": 20, "expo_time": 0.001, "roi": {"y": 4, "x": 4, "height": 32, "width": 24},
        "binning": {"y": 1, "x": 1}, "flip": "x",
    },
    "topology": {"workers": 2, "roles": "shared"},
    "policy": {"max_absent": 0.5, "on_error": "retry"},
    "buffers": {"nbytes": "8 MiB", "nb_frames_per_block": 2},
    "pipeline": [
        {"name": "masked", "task": "mask", "path": "mask.npy"},
        {"name": "bin", "task": "bin", "after": ["masked"], "y": 2, "dtype": "uint32"},
        {"name": "part", "task": "crop", "after": "bin", "y": 1, "x": 1, "height": 8, "width": 9},
        {"name": "turned", "task": "rotate", "after": "part", "turns": 1},
        {"name": "sum", "task": "accumulate", "after": "turned", "nb_frames": 2},
        {"name": "stats", "task": "roi_statistics", "after": "turned", "rois": [
            {"y": 0, "x": 0, "height": 4, "width": 4, "name": "a"},
            {"y": 3.5, "x": 3.5, "r1": 1, "r2": 3.0, "a1": -10, "a2": 90},
            {"points": [[0, 0], [6, 0], [0, 6]]},
        ]},
        {"name": "live", "task": "observe", "after": "sum", "history": 2, "on_error": "mark"},
        {"name": "file", "task": "save_hdf5", "after": "sum", "folder": "out", "prefix": "p"},
    ],
    "metadata": {"sample": "LaB6", "temperature": 293.15},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the configuration needs."""
    made = tmp_path_factory.mktemp("configuration")
    np.save(made / "mask.npy", np.zeros((32, 24), "u1"))
    return made


def checked(data: Any, folder: Path) -> ld.ConfigError | None:
    """What is wrong with a configuration, by itself or for doing it; nothing else is raised."""
    found: ld.ConfigError | None = None
    try:
        ld.check(ld.Configuration.parse(data, folder))
    except ld.ConfigError as error:
        found = error
    if found is not None:
        assert found.message
        assert found.message in str(found)
        assert None not in (found.node, found.field, found.allowed)
        assert str(pickle.loads(pickle.dumps(found))) == str(found)
        json.dumps(found.to_dict(), default=str)  # as the command line tells it
    return found


def changed(data: Any, path: str, value: Any) -> Any:
    """A copy with one thing changed; a name that is not there is added."""
    data = copy.deepcopy(data)
    *above, last = path.split(".")
    inner = data
    for key in above:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[int(last) if isinstance(inner, list) else last] = value
    return data


FAR = ld.Arc(y=1e300, x=3.5, r1=1, r2=3, a1=-10, a2=90)
MISTAKES: list[tuple[str, Any, str, str, Any, str]] = [
    ("pipeline.3.task", "turn", "turned", "task", "turn", "rotate"),
    ("pipeline.3.task", None, "turned", "task", None, "a word"),
    ("pipeline.3.afer", "bin", "turned", "afer", "bin", "turns"),
    ("pipeline.3.after", "nowhere", "turned", "after", "nowhere", "part"),
    ("pipeline.3.after", ["part", "no"], "turned", "after", "no", "input"),
    ("pipeline.3.after", ["part", "bin"], "turned", "after", ["part", "bin"], "1 name"),
    ("pipeline.3.after", "stats", "stats", "after", ["turned"], "not come after this"),
    ("pipeline.3.after", 5, "turned", "after", 5, "names of nodes"),
    ("pipeline.3.after", [], "turned", "after", [], "'input' or names of nodes"),
    ("pipeline.6.after", "stats", "live", "after", "stats", "yields frames"),
    ("pipeline.3.name", "input", "input", "name", "input", "not used yet"),
    ("pipeline.3.name", "a/b", "a/b", "name", "a/b", "letters, digits, _ and -"),
    ("pipeline.3.name", 3, "3", "name", 3, "a word"),
    ("pipeline.3", "rotate", "pipeline", "3", "rotate", "name: value"),
    ("pipeline.3", {1: 2}, "pipeline", "3", {1: 2}, "name: value"),
    ("pipeline.5.rois", [], "stats", "rois", [], "at least 1"),
    ("pipeline.5.rois.0.hight", 4, "stats", "rois.0.hight", 4, "height"),
    ("pipeline.5.rois.0.height", "high", "stats", "rois.0.height", "high", "an integer"),
    ("pipeline.5.rois.1.r2", 0.5, "stats", "rois.1.r2", 0.5, "> 1"),
    ("pipeline.5.rois.1.y", 1e300, "stats", "rois.1", FAR, "within 9 rows"),
    ("pipeline.5.rois.2.points", [[0, 0]], "stats", "rois.2.points", ((0, 0),), "at least 3"),
    ("pipeline", "mask", "pipeline", "pipeline", "mask", "- {name: …"),
    ("pipeline", 0, "pipeline", "pipeline", 0, "- {name: …"),
    ("detector.type", "simulater", "detector", "type", "simulater", "simulator"),
    ("detector.type", None, "detector", "type", None, "replay"),
    ("detector.type", ["simulator"], "detector", "type", ["simulator"], "replay"),
    ("detector.shap", [4, 4], "detector", "shap", [4, 4], "shape"),
    ("detector.shape", [4], "detector", "shape.1", None, "a value"),
    ("detector.shape", 4, "detector", "shape", 4, "a list"),
    ("detector.modules", 9, "detector", "modules", 9, "equal heights"),
    ("detector.growth", "fast", "detector", "growth", "fast", "a number"),
    ("detector.hardware_roi", "often", "detector", "hardware_roi", "often", "true or false"),
    ("detector.faults.dorp", [1], "detector", "faults.dorp", [1], "drop"),
    ("detector.faults", 3, "detector", "faults", 3, "name: value"),
    ("detector", [], "detector", "detector", [], "name: value"),
    ("acquisition.nb_frame", 3, "acquisition", "nb_frame", 3, "nb_frames"),
    ("acquisition.nb_frames", "many", "acquisition", "nb_frames", "many", "an integer"),
    ("acquisition.roi.width", 0, "acquisition", "roi.width", 0, "> 0"),
    ("acquisition.roi", 4, "acquisition", "roi", 4, "name: value"),
    ("acquisition", 5, "acquisition", "acquisition", 5, "name: value"),
    ("acquisition", 0, "acquisition", "acquisition", 0, "name: value"),
    ("policy", "", "policy", "policy", "", "name: value"),
    ("policy.max_absent", 1.5, "policy", "max_absent", 1.5, "an integer or ≤ 1"),
    ("buffers.nbytes", "3 XB", "buffers", "nbytes", "3 XB", "such as 512 MiB"),
    ("buffers.folder", 3, "buffers", "folder", 3, "a text"),
    ("metadata", [1], "metadata", "metadata", [1], "name: value"),
    ("piepline", [], "file", "piepline", [], "pipeline"),
    ("pipeline.0.path", "~nobody_at_all/m.h5", "masked", "path", "~nobody_at_all/m.h5", "a path"),
    ("pipeline.7.folder", "~nobody_at_all/o", "file", "folder", "~nobody_at_all/o", "a path"),
    ("pipeline.7.folder", "a\0b", "file", "folder", "a\0b", "a path"),
    ("pipeline.7.prefix", "a/b", "file", "prefix", "a/b", "without folders"),
    ("pipeline.0.path", "a\0b.npy", "masked", "path", "a\0b.npy", "a path"),
    ("pipeline.7.folder", "a\ud800", "file", "folder", "a\ud800", "a path"),
]
"""Where, what stands there; node, field, value and part of what is allowed in the error."""


@pytest.mark.parametrize(
    ("path", "put", "node", "field", "value", "allowed"),
    MISTAKES,
    ids=[f"{one[0]}: {one[1]!r}" for one in MISTAKES],
)
def test_a_mistake_is_named_with_its_value_and_what_is_allowed(
    folder: Path, path: str, put: Any, node: str, field: str, value: Any, allowed: str
) -> None:
    error = checked(changed(GOOD, path, put), folder)
    assert error is not None
    assert (error.node, error.field, error.value) == (node, field, value)
    assert allowed in error.allowed


@pytest.mark.parametrize("data", [None, 3, "run", [], [1], {1: 2}, {None: 1}, True])
def test_a_file_is_a_mapping(folder: Path, data: Any) -> None:
    error = checked(data, folder)
    assert error is not None
    assert (error.node, error.field, error.value) == ("file", "content", data)


def test_of_many_mistakes_one_is_told(folder: Path) -> None:
    data = GOOD
    for path in ("detector.shap", "acquisition.flop", "pipeline.3.turn", "policy.on_abs"):
        data = changed(data, path, 1)
    error = checked(data, folder)
    assert error is not None
    assert (error.node, error.field) == ("acquisition", "flop")


words = st.sampled_from(["input", "sum", "bin", "mask", "simulator", "retry", "uint8", "~", "out"])
scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-2, 50) | st.floats()
    | words | st.text(max_size=8) | st.dates() | st.datetimes() | st.binary(max_size=4)
)  # fmt: skip
keys = words | st.sampled_from(["name", "task", "y", "x"]) | scalars
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every place where something stands: the list or mapping, and the position or name."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(pairs):
        yield data, key
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A good configuration with one thing replaced, left out, added or moved."""
    data = copy.deepcopy(GOOD)
    all_places = list(places(data))
    inner, key = draw(st.sampled_from(all_places))
    what = draw(st.sampled_from(["replace", "remove", "add", "copy"]))
    if what == "remove":
        del inner[key]
    elif what == "add" and isinstance(inner, dict):
        inner[draw(keys)] = draw(anything)
    elif what == "copy":
        other, place = draw(st.sampled_from(all_places))
        inner[key] = copy.deepcopy(other[place])
    else:
        inner[key] = draw(anything)
    return data


def test_the_good_one_is_good(folder: Path) -> None:
    assert checked(GOOD, folder) is None


@given(mutated())
@settings(max_examples=400)
def test_a_good_configuration_that_was_changed_is_good_or_refused(folder: Path, data: Any) -> None:
    checked(data, folder)


@given(anything | st.dictionaries(st.sampled_from(list(GOOD)), anything))
@settings(max_examples=200)
def test_anything_is_good_or_refused(folder: Path, data: Any) -> None:
    checked(data, folder)


def loaded(folder: Path, text: str) -> ld.Configuration | ld.ConfigError:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    try:
        return ld.Configuration.load(path)
    except ld.ConfigError as error:
        return error


@given(mutated() | anything)
@settings(max_examples=100)
def test_it_is_the_same_by_way_of_a_file(folder: Path, data: Any) -> None:
    found = loaded(folder, yaml.safe_dump(data, sort_keys=False))
    if isinstance(found, ld.Configuration):
        assert list(found.pipeline) == list(ld.Configuration.parse(data, folder).pipeline)
    else:
        error = checked(data, folder)
        assert error is not None
        assert error.field == found.field


characters = st.text("{}[]:,-#&*!|>'\"%@`?~\n \tab1.é\0", max_size=4)


@given(st.integers(0, 2000), st.integers(0, 6), characters)
@settings(max_examples=200)
def test_a_file_with_something_scratched_out_is_good_or_refused(
    folder: Path, start: int, length: int, put: str
) -> None:
    text = yaml.safe_dump(GOOD)
    start %= len(text)
    found = loaded(folder, text[:start] + put + text[start + length :])
    assert isinstance(found, ld.Configuration) or found.message
