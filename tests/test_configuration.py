"""Configurations as YAML: what is read, and how mistakes are told."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

import limadask as ld
from limadask import registry
from limadask.pipeline import Node
from limadask_detectors import Replay, Simulator
from limadask_tasks import Flatfield, Mask, RoiStatistics, SaveHdf5

README = Path(__file__).parent.parent / "README.md"
(TEXT,) = (
    part.split("```")[0]
    for part in README.read_text().split("```yaml\n")[1:]
    if part.startswith("detector:")
)
"""The configuration that the README shows."""


def load(folder: Path, text: str) -> ld.Configuration:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return ld.Configuration.load(path)


def refused(folder: Path, text: str) -> ld.ConfigError:
    """The error that a text gives, at the latest when it is checked; it can be shown and sent."""
    with pytest.raises(ld.ConfigError) as caught:
        ld.check(load(folder, text))
    error = caught.value
    assert error.message
    assert pickle.loads(pickle.dumps(error)).to_dict() == error.to_dict()
    assert json.loads(json.dumps(error.to_dict(), default=str))["message"] == error.message
    return error


def as_data(configuration: ld.Configuration) -> dict[str, Any]:
    """A configuration as plain data."""
    kind = {"type": registry.detector_name(configuration.detector)}
    sections = ("acquisition", "topology", "policy", "buffers")
    return {
        "detector": kind | configuration.detector.model_dump(mode="json"),
        **{name: getattr(configuration, name).model_dump(mode="json") for name in sections},
        "pipeline": list(map(node_as_data, configuration.pipeline)),
        "metadata": dict(configuration.metadata),
    }


def node_as_data(node: Node) -> dict[str, Any]:
    head = {"name": node.name, "task": node.task.task_name(), "after": list(node.after)}
    return head | {"on_error": node.on_error} | node.task.model_dump(mode="json")


def same(one: ld.Configuration, other: ld.Configuration) -> bool:
    return list(one.pipeline) == list(other.pipeline) and all(
        getattr(one, name) == getattr(other, name)
        for name in ("detector", "acquisition", "topology", "policy", "buffers", "metadata")
    )


def test_the_readme_s_file_is_the_same_as_its_python(tmp_path: Path) -> None:
    found = load(tmp_path, TEXT)
    assert found.detector == Simulator(shape=(1062, 1028), bands=["4 keV", "8 keV"])
    assert found.acquisition == ld.AcquisitionParameters(nb_frames=1000, expo_time=1e-3)
    region = ld.Rect(y=10, x=20, height=64, width=64)
    assert list(found.pipeline) == [
        Node("masked", Mask(path=str(tmp_path / "mask.h5"))),
        Node("flat", Flatfield(path=str(tmp_path / "flat.h5")), ("masked",)),
        Node("stats", RoiStatistics(rois=[region]), ("flat",)),
        Node("file", SaveHdf5(folder=str(tmp_path / "out"), prefix="sample1"), ("flat",)),
    ]
    assert (found.topology, found.policy) == (ld.Topology(), ld.Policy())
    assert (found.buffers, found.metadata) == (ld.Buffers(), {})


def test_what_is_left_out_or_empty_has_its_defaults(tmp_path: Path) -> None:
    bare = ld.Configuration(Simulator())
    assert same(load(tmp_path, "detector: {type: simulator}"), bare)
    empty = "".join(f"{name}:\n" for name in as_data(bare) if name != "detector")
    assert same(load(tmp_path, "detector: {type: simulator}\n" + empty), bare)


FULL = """
detector: {type: simulator, shape: [86, 40], modules: 2, faults: {drop: [3, 7]}, growth: 0.5}
acquisition: {nb_frames: 9, expo_time: 1.0e-3, flip: both, rotation: 90, binning: {y: 2},
              roi: {y: 0, x: 4, height: 80, width: 32, name: centre}, trigger_mode: software}
topology: {workers: 3, roles: separate}
policy: {on_absent: abort, on_error: retry, retries: 5, max_absent: 0.25}
buffers: {nbytes: 64 MiB, nb_frames_per_block: 3}
metadata: {sample: LaB6, nested: {list: [1, 2.5, null]}, day: 2026-01-31}
pipeline:
  - {name: sum, task: accumulate, nb_frames: 3, on_error: abort}
  - {name: small, task: bin, after: [sum], y: 2, mode: mean, dtype: float64}
  - {name: stats, task: roi_statistics, after: small, coordinates: detector,
     rois: [{y: 8, x: 8, height: 8, width: 8, name: a}, {y: 20, x: 20, r1: 2, r2: 9, a1: -10},
            {points: [[4, 4], [30, 4], [4, 30]]}]}
  - {name: bright, task: min_intensity, minimum: 10, band: null, roi: {y: 0, x: 0, r1: 1, r2: 4}}
  - {name: hits, task: min_peaks, after: bright, count: 3, threshold: 5.5}
  - {name: bad, task: failing, after: hits, frames: [3, 7], how: hang, seconds: 0.5}
  - {name: worse, task: failing, after: hits, frames: 0.25, seed: 4}
  - {name: lines, task: roi_profiles, rois: [{y: 0, x: 0, height: 4, width: 5}]}
  - {name: live, task: observe, after: small, history: 4}
  - {name: file, task: save_hdf5, after: input, folder: out, compression: none}
"""


@pytest.mark.parametrize("text", [TEXT, FULL], ids=["readme", "full"])
def test_a_configuration_written_down_again_is_the_same(tmp_path: Path, text: str) -> None:
    first = load(tmp_path, text)
    (tmp_path / "elsewhere").mkdir()
    second = load(tmp_path / "elsewhere", yaml.safe_dump(as_data(first)))
    assert same(first, second)
    assert as_data(first) == as_data(second)


def test_the_full_one_can_be_done(tmp_path: Path) -> None:
    ready = ld.check(load(tmp_path, FULL))
    assert ready.hardware.shape == (40, 32)
    assert ready.files == {"file": str(tmp_path / "out" / "limadask_master.h5")}


def test_parts_can_be_written_once(tmp_path: Path) -> None:
    text = """
        detector: &camera {type: simulator, shape: [8, 8]}
        metadata: {camera: *camera, more: {<<: *camera, shape: [9, 9]}}
    """
    assert load(tmp_path, text).metadata == {
        "camera": {"type": "simulator", "shape": [8, 8]},
        "more": {"type": "simulator", "shape": [9, 9]},
    }


PATHS = """
    detector: {type: replay, path: [SUBscan.h5, "SUBmore_*.h5::/a/b"]}
    pipeline: [{name: a, task: mask, path: "SUBmask.h5::/data"},
               {name: b, task: save_hdf5, folder: SUBout/../deep}]
"""
NAMES = ["scan.h5", "more_*.h5::/a/b", "mask.h5::/data", "deep"]


@pytest.mark.parametrize(
    ("written", "meant"), [("", "runs"), ("../sub/", "sub"), ("~/", "home"), ("ABS/", "ABS")]
)
@pytest.mark.parametrize("where", ["run.yaml", "../runs/run.yaml", "ABS/runs/run.yaml"])
def test_relative_paths_are_taken_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, meant: str, where: str
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "runs")
    text = PATHS.replace("SUB", written.replace("ABS", str(tmp_path)))
    (tmp_path / "runs" / "run.yaml").write_text(text)
    found = ld.Configuration.load(where.replace("ABS", str(tmp_path)))
    monkeypatch.chdir(tmp_path)  # it does not matter where one is later
    mask, saver = (node.task for node in found.pipeline)
    assert isinstance(found.detector, Replay)
    assert isinstance(mask, Mask)
    assert isinstance(saver, SaveHdf5)
    told = [*found.detector.path, str(mask.path), saver.folder]
    base = tmp_path / meant.replace("ABS", ".")
    assert [os.path.normpath(one) for one in told] == [
        os.path.normpath(base / one) for one in NAMES
    ]


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [HERE/made]]",
        "!!python/object/new:pathlib.Path [HERE]",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!python/tuple [1, 2]",
        "!!python/object:limadask_tasks.Flip {axis: y}",
        "!local {a: 1}",
    ],
)
@pytest.mark.parametrize("place", ["{}", "detector: {}", "metadata: {{a: [{} ]}}", "{{{} : 1}}"])
def test_a_file_holds_data_and_no_code(tmp_path: Path, text: str, place: str) -> None:
    error = refused(tmp_path, place.format(text.replace("HERE", str(tmp_path))))
    assert (error.node, error.field) == ("file", "path")
    assert "could not determine a constructor" in error.message
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


NO_YAML = {
    "a day that is none": "metadata: {day: 2026-02-30}",
    "a list as a name": "? [a]\n: 1",
    "a mapping as a name": "metadata: {? {a: 1} : 2}",
    "a bool that is none": "a: !!bool maybe",
    "a number that is none": "a: !!int x",
    "a float that is none": "a: !!float x",
    "a time that is none": "a: !!timestamp x",
    "a number too long": f"a: {'9' * 5000}",
    "lists too deep": "[" * 3000,
    "mappings too deep": "{a: " * 2000 + "1" + "}" * 2000,
    "two documents": "--- {}\n--- {}",
    "an unknown alias": "a: *nobody",
    "a name twice, deep": "metadata: {a: [{b: 1, b: 2}]}",
    "a control character": "a: \x01",
}


@pytest.mark.parametrize("case", NO_YAML)
def test_what_is_no_yaml_is_told(tmp_path: Path, case: str) -> None:
    error = refused(tmp_path, NO_YAML[case])
    assert (error.node, error.field) == ("file", "path")
    assert error.value == str(tmp_path / "run.yaml")
    assert "no valid YAML" in error.message


@pytest.mark.parametrize("name", ["nothing.yaml", "", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ld.ConfigError, match="cannot be read") as caught:
        ld.Configuration.load(tmp_path / name)
    assert (caught.value.node, caught.value.value) == ("file", str(tmp_path / name))
    (tmp_path / "latin.yaml").write_bytes("detector: é".encode("latin-1"))
    with pytest.raises(ld.ConfigError, match="cannot be read"):
        ld.Configuration.load(tmp_path / "latin.yaml")
