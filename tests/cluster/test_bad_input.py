"""Bad input is found before any frame is taken, with one error that says where and what."""

from __future__ import annotations

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


def complex_numbers(folder: Path) -> str:
    return image(folder / "complex.h5", np.ones((32, 32), "c16"))


def words(folder: Path) -> str:
    np.save(folder / "words.npy", np.full((32, 32), "bad"))
    return str(folder / "words.npy")


def a_file(folder: Path) -> str:
    (folder / "file").write_text("no folder")
    return str(folder / "file" / "out")


def taken(folder: Path) -> str:
    (folder / "limadask_master.h5").write_bytes(b"")
    return str(folder)


def node(task: str, **fields: Any) -> dict[str, Any]:
    return {"name": "it", "task": task, **fields}


ROI = {"y": 0, "x": 0, "height": 4, "width": 4}
CASES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an unknown task": (node("flap"), "task", "flap", "flip"),
    "an unknown parameter": (node("flip", axes="y"), "axes", "y", "axis"),
    "a wrong value": (node("flip", axis="z"), "axis", "z", "'y' or 'x'"),
    "a word for a number": (node("bin", y="two"), "y", "two", "an integer"),
    "no such file": (node("mask", path="nowhere.h5"), "path", "/nowhere.h5", "an existing file"),
    "an image of another shape": (
        node("mask", path=wrong_shape), "path", "/small.h5 (16, 32)", "(32, 32)",
    ),
    "a complex mask": (node("mask", path=complex_numbers), "path", "complex128", "integers"),
    "a complex background": (
        node("background", path=complex_numbers), "path", "complex128", "integers",
    ),
    "a complex flat-field": (
        node("flatfield", path=complex_numbers), "path", "complex128", "integers",
    ),
    "a mask of words": (node("mask", path=words), "path", "<U3", "integers"),
    "a background of words": (node("background", path=words), "path", "<U3", "integers"),
    "a flat-field of words": (node("flatfield", path=words), "path", "<U3", "integers"),
    "a mask of NaN": (node("mask", path=nan), "path", "/nan.h5", "0 where a pixel holds a value"),
    "a background of NaN": (node("background", path=nan), "path", "/nan.h5", "finite values"),
    "a flat-field of zeros": (node("flatfield", path=zeros), "path", "/zeros.h5", "other than 0"),
    "a flat-field of NaN": (node("flatfield", path=nan), "path", "/nan.h5", "finite values"),
    "a type that is none": (node("bin", y=2, dtype="uint17"), "dtype", "uint17", "uint64"),
    "a bin larger than the image": (node("bin", y=33), "y", "33", "1 … 32"),
    "a crop outside": (
        node("crop", y=30, x=0, height=4, width=4), "height", "4", "within 32 rows",
    ),
    "a region outside": (
        node("roi_statistics", rois=[{**ROI, "y": 30}]),
        "rois.0", "Rect(y=30, x=0, height=4, width=4, name=None)", "within 32 rows",
    ),
    "a dangling after": (node("flip", axis="y", after="nothing"), "after", "nothing", "input"),
    "a circle": (node("flip", axis="y", after="it"), "after", "['it']", "not come after this"),
    "a folder that is a file": (
        node("save_hdf5", folder=a_file), "folder", "/file/out", "can be made and written",
    ),
    "an existing master": (
        node("save_hdf5", folder=taken), "file_exists_policy", "abort", "another folder or prefix",
    ),
    "a prefix with a folder": (
        node("save_hdf5", folder=".", prefix="a/b"), "prefix", "a/b", "without folders",
    ),
}  # fmt: skip
"""A node; the field, the end of the value and part of what is allowed in the error."""


@pytest.mark.parametrize("case", CASES)
def test_mistakes_of_a_node_are_found(client: Client, tmp_path: Path, case: str) -> None:
    fields, field, value, allowed = CASES[case]
    made = {name: one(tmp_path) if callable(one) else one for name, one in fields.items()}
    data = {
        "detector": {"type": "simulator", "shape": [32, 32]},
        "acquisition": {"nb_frames": 10},
        "pipeline": [made],
    }
    for find in (ld.check, lambda one: ld.Acquisition.of(client, one).prepare()):
        with pytest.raises(ld.ConfigError) as caught:
            find(ld.Configuration.parse(data, tmp_path))
        error = caught.value
        assert (error.node, error.field) == ("it", field), error
        assert str(error.value).endswith(value), error
        assert allowed in error.allowed, error
        assert error.message


SECTIONS: dict[str, tuple[dict[str, Any], tuple[str, str], Any, str]] = {
    "no detector": ({"detector": {}}, ("detector", "type"), None, "simulator"),
    "an unknown detector": (
        {"detector": {"type": "magic"}}, ("detector", "type"), "magic", "simulator",
    ),
    "a wrong shape": (
        {"detector": {"type": "simulator", "shape": [0, 5]}}, ("detector", "shape.0"), 0, "> 0",
    ),
    "an unknown section": ({"detectors": {}}, ("file", "detectors"), {}, "detector"),
    "a negative number": (
        {"acquisition": {"nb_frames": -1}}, ("acquisition", "nb_frames"), -1, "≥ 0",
    ),
    "a word for a number": (
        {"acquisition": {"nb_frames": "many"}}, ("acquisition", "nb_frames"), "many", "an integer",
    ),
    "a roi outside": (
        {"acquisition": {"roi": {"y": 0, "x": 0, "height": 33, "width": 4}}},
        ("acquisition", "roi"), ld.Rect(0, 0, 33, 4), "within 32 rows",
    ),
    "an unsupported trigger": (
        {"acquisition": {"trigger_mode": "gate"}},
        ("acquisition", "trigger_mode"), "gate", "software",
    ),
    "an exposure out of range": (
        {"acquisition": {"expo_time": 1e6}}, ("acquisition", "expo_time"), 1e6, "3600.0 s",
    ),
    "too many workers": ({"topology": {"workers": 99}}, ("topology", "workers"), 99, "at most 3"),
    "an unknown dispatch": (
        {"topology": {"dispatch": "chance"}}, ("topology", "dispatch"), "chance", "'single'",
    ),
    "a policy that is none": (
        {"policy": {"on_absent": "cry"}}, ("policy", "on_absent"), "cry", "'abort' or 'mark'",
    ),
    "a bound that is none": (
        {"policy": {"max_absent": 1.5}}, ("policy", "max_absent"), 1.5, "an integer or ≤ 1",
    ),
    "a pool too small": (
        {"buffers": {"nbytes": 4000}}, ("buffers", "nbytes"), 4000, "at least 8192",
    ),
    "a pool too large": (
        {"buffers": {"nbytes": "1 TiB"}}, ("buffers", "nbytes"), 1 << 40, "at most",
    ),
    "a pool of nothing": (
        {"buffers": {"nbytes": "few"}}, ("buffers", "nbytes"), "few", "such as 512 MiB",
    ),
    "nodes that are no list": (
        {"pipeline": {"name": "a"}}, ("pipeline", "pipeline"), {"name": "a"}, "- {name: …",
    ),
    "two nodes of one name": (
        {"pipeline": [node("flip", axis="y"), node("flip", axis="x")]},
        ("it", "name"), "it", "not used yet",
    ),
    "a node with a slash": (
        {"pipeline": [{"name": "a/b", "task": "flip", "axis": "y"}]},
        ("a/b", "name"), "a/b", "letters, digits",
    ),
    "two savers on one file": (
        {
            "pipeline": [
                {"name": "a", "task": "save_hdf5", "folder": "/nowhere"},
                {"name": "b", "task": "save_hdf5", "folder": "/nowhere"},
            ]
        },
        ("b", "entry"), "entry", "another entry, folder or prefix",
    ),
}  # fmt: skip
"""Sections; node and field, the value and part of what is allowed in the error."""


@pytest.mark.parametrize("case", SECTIONS)
def test_mistakes_of_a_section_are_found(client: Client, tmp_path: Path, case: str) -> None:
    changes, (at, field), value, allowed = SECTIONS[case]
    data = {"detector": {"type": "simulator", "shape": [32, 32]}, **changes}
    with pytest.raises(ld.ConfigError) as caught:
        ld.Acquisition.of(client, ld.Configuration.parse(data, tmp_path)).prepare()
    error = caught.value
    assert (error.node, error.field, error.value) == (at, field, value), error
    assert allowed in error.allowed, error


def test_too_few_workers_names_both_numbers(client: Client) -> None:
    acquisition = ld.Acquisition(
        client, ld.Configuration.parse({"detector": {"type": "simulator"}}, Path()).detector,
        topology=ld.Topology(workers=7, roles="separate"),
    )  # fmt: skip
    with pytest.raises(ld.ConfigError, match=r"3 worker.*needs 8") as caught:
        acquisition.prepare()
    assert (caught.value.value, caught.value.allowed) == (8, "at most 3")


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
