"""Bad input is found before any frame is taken, with one error that says where and what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client

import limadask as ld


def image(path: Path, array: np.ndarray[Any, Any]) -> str:
    with h5py.File(path, "w") as file:
        file["image"] = array
    return str(path)


def zeros(folder: Path) -> str:
    return image(folder / "zeros.h5", np.zeros((32, 32), "f4"))


def wrong_shape(folder: Path) -> str:
    return image(folder / "small.h5", np.ones((16, 32), "f4"))


def nan(folder: Path) -> str:
    return image(folder / "nan.h5", np.full((32, 32), np.nan))


def a_file(folder: Path) -> str:
    (folder / "file").write_text("no folder")
    return str(folder / "file" / "out")


def taken(folder: Path) -> str:
    (folder / "limadask_master.h5").write_bytes(b"")
    return str(folder)


def node(task: str, **fields: Any) -> dict[str, Any]:
    return {"name": "it", "task": task, **fields}


ROI = {"y": 0, "x": 0, "height": 4, "width": 4}
Made = Callable[[Path], str]
CASES: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "an unknown task": (node("flap"), ("it", "task")),
    "an unknown parameter": (node("flip", axes="y"), ("it", "axes")),
    "a wrong value": (node("flip", axis="z"), ("it", "axis")),
    "no such file": (node("mask", path="nowhere.h5"), ("it", "path")),
    "an image of another shape": (node("mask", path=wrong_shape), ("it", "path")),
    "a flat-field of zeros": (node("flatfield", path=zeros), ("it", "path")),
    "a flat-field of NaN": (node("flatfield", path=nan), ("it", "path")),
    "a type that is none": (node("bin", y=2, dtype="uint17"), ("it", "dtype")),
    "a bin larger than the image": (node("bin", y=33), ("it", "y")),
    "a crop outside": (node("crop", y=30, x=0, height=4, width=4), ("it", "height")),
    "a region outside": (node("roi_statistics", rois=[{**ROI, "y": 30}]), ("it", "rois.0")),
    "a dangling after": (node("flip", axis="y", after="nothing"), ("it", "after")),
    "a circle": (node("flip", axis="y", after="it"), ("it", "after")),
    "a folder that is a file": (node("save_hdf5", folder=a_file), ("it", "folder")),
    "an existing master": (node("save_hdf5", folder=taken), ("it", "file_exists_policy")),
    "a prefix with a folder": (node("save_hdf5", folder=".", prefix="a/b"), ("it", "prefix")),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes_of_a_node_are_found(client: Client, tmp_path: Path, case: str) -> None:
    fields, (at, field) = CASES[case]
    made = {name: value(tmp_path) if callable(value) else value for name, value in fields.items()}
    data = {
        "detector": {"type": "simulator", "shape": [32, 32]},
        "acquisition": {"nb_frames": 10},
        "pipeline": [made],
    }
    for find in (ld.check, lambda one: ld.Acquisition.of(client, one).prepare()):
        with pytest.raises(ld.ConfigError) as caught:
            find(ld.Configuration.parse(data, tmp_path))
        assert (caught.value.node, caught.value.field) == (at, field), caught.value
        assert caught.value.message


SECTIONS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "no detector": ({}, ("detector", "type")),
    "an unknown detector": ({"detector": {"type": "magic"}}, ("detector", "type")),
    "a wrong shape": (
        {"detector": {"type": "simulator", "shape": [0, 5]}},
        ("detector", "shape.0"),
    ),
    "an unknown section": ({"detectors": {}}, ("file", "detectors")),
    "a negative number": ({"acquisition": {"nb_frames": -1}}, ("acquisition", "nb_frames")),
    "a roi outside": (
        {"acquisition": {"roi": {"y": 0, "x": 0, "height": 33, "width": 4}}},
        ("acquisition", "roi"),
    ),
    "an unsupported trigger": (
        {"acquisition": {"trigger_mode": "gate"}},
        ("acquisition", "trigger_mode"),
    ),
    "an exposure out of range": ({"acquisition": {"expo_time": 1e6}}, ("acquisition", "expo_time")),
    "too many workers": ({"topology": {"workers": 99}}, ("topology", "workers")),
    "an unknown dispatch": ({"topology": {"dispatch": "chance"}}, ("topology", "dispatch")),
    "a policy that is none": ({"policy": {"on_absent": "cry"}}, ("policy", "on_absent")),
    "a pool too small": ({"buffers": {"nbytes": 4000}}, ("buffers", "nbytes")),
    "a pool too large": ({"buffers": {"nbytes": "1 TiB"}}, ("buffers", "nbytes")),
    "nodes that are no list": ({"pipeline": {"name": "a"}}, ("pipeline", "pipeline")),
    "two nodes of one name": (
        {"pipeline": [node("flip", axis="y"), node("flip", axis="x")]},
        ("it", "name"),
    ),
    "two savers on one file": (
        {
            "pipeline": [
                {"name": "a", "task": "save_hdf5", "folder": "out"},
                {"name": "b", "task": "save_hdf5", "folder": "out"},
            ]
        },
        ("b", "prefix"),
    ),
}


@pytest.mark.parametrize("case", SECTIONS)
def test_mistakes_of_a_section_are_found(client: Client, tmp_path: Path, case: str) -> None:
    changes, (at, field) = SECTIONS[case]
    data = {"detector": {"type": "simulator", "shape": [32, 32]}, **changes}
    if case == "no detector":
        data = {}
    with pytest.raises(ld.ConfigError) as caught:
        ld.Acquisition.of(client, ld.Configuration.parse(data, tmp_path)).prepare()
    assert (caught.value.node, caught.value.field) == (at, field), caught.value


def test_too_few_workers_names_both_numbers(client: Client) -> None:
    acquisition = ld.Acquisition(
        client, ld.Configuration.parse({"detector": {"type": "simulator"}}, Path()).detector,
        topology=ld.Topology(workers=7, roles="separate"),
    )  # fmt: skip
    with pytest.raises(ld.ConfigError, match=r"3 worker.*needs 8"):
        acquisition.prepare()


def test_a_run_that_was_refused_leaves_nothing_behind(client: Client, tmp_path: Path) -> None:
    data = {
        "detector": {"type": "simulator", "shape": [32, 32]},
        "pipeline": [
            {"name": "file", "task": "save_hdf5", "folder": str(tmp_path / "out")},
            {"name": "it", "task": "mask", "path": "nowhere.h5"},
        ],
    }
    acquisition = ld.Acquisition.of(client, ld.Configuration.parse(data, tmp_path))
    with pytest.raises(ld.ConfigError):
        acquisition.prepare()
    assert acquisition.state == ("failed", "failed")
    assert not (tmp_path / "out").exists()
    stations = client.run(lambda dask_worker: len(dask_worker.extensions["limadask"]._stations))
    assert set(stations.values()) == {0}
