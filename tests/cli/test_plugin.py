"""A third party's package, installed and used exactly as a user's would be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

PACKAGE = Path(__file__).parent.parent / "plugin"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the package beside limadask; return an environment that sees both."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--target", str(folder), str(PACKAGE)], check=True)
    return {**os.environ, "PYTHONPATH": str(folder)}


def limadask(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "limadask", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_its_plugins_are_listed_and_a_broken_one_is_skipped(environment: dict[str, str]) -> None:
    done = limadask(environment, "plugins", "--json")
    found = json.loads(done.stdout)
    assert found["detectors"]["checkerboard"].startswith("Shows a checkerboard")
    assert {"gain", "brightest", "flip"} <= set(found["tasks"])
    assert {"region", "huge", "mapped", "pages"} <= set(found["allocators"])
    assert "broken" not in found["tasks"]
    assert "'broken'" in done.stderr
    assert "is skipped" in done.stderr


def test_its_own_tests_inherit_the_suite_for_detectors(environment: dict[str, str]) -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test_checkerboard.py",
    ]
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", "."], cwd=PACKAGE, env=environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_its_plugins_run_from_yaml(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(
        """
        detector: {type: checkerboard, shape: [32, 48], square: 4}
        acquisition: {nb_frames: 30, expo_time: 0.001}
        pipeline:
          - {name: twice, task: gain, factor: 3.0}
          - {name: peak, task: brightest, after: twice}
          - {name: file, task: save_hdf5, after: twice, folder: out}
        """
    )
    done = limadask(environment, "run", str(tmp_path / "run.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["frames"]["present"] == 30
    assert told["files"]["file"] == str(tmp_path / "out" / "limadask_master.h5")
    with h5py.File(told["files"]["file"]) as file:
        frames = file["entry/data/data"][()]
    y, x = np.indices((32, 48)) // 4
    for number, image in enumerate(frames):
        assert np.array_equal(image, (y + x) % 2 * number * 3.0)


@pytest.mark.parametrize("nbytes", [8 << 20, 0])
def test_its_memory_is_taken_or_it_is_told_why_not(
    environment: dict[str, str], tmp_path: Path, nbytes: int
) -> None:
    device = tmp_path / "udmabuf0"
    device.write_bytes(bytes(nbytes))
    (tmp_path / "run.yaml").write_text(
        f"""
        detector: {{type: checkerboard, shape: [32, 48], square: 4}}
        acquisition: {{nb_frames: 30, expo_time: 0.001}}
        buffers: {{nbytes: 1 MiB, allocator: {{type: region, device: {device}}}}}
        pipeline: [{{name: file, task: save_hdf5, folder: out}}]
        """
    )
    done = limadask(environment, "run", str(tmp_path / "run.yaml"), "--json")
    assert done.returncode == 0, done.stderr
    said = f"allocator region: {{}} slots cannot be mapped from {device}"
    assert (said.format(16) in done.stderr) == (nbytes == 0), done.stderr
    with h5py.File(tmp_path / "out" / "limadask_master.h5") as file:
        frames = file["entry/data/data"][()]
        (worker,) = file["entry/parameters/software/settings/workers"].values()
        name = worker["allocator/name"].asstr()[()]
    assert name == ("region" if nbytes else "pages")
    y, x = np.indices((32, 48)) // 4
    for number, image in enumerate(frames):
        assert np.array_equal(image, (y + x) % 2 * number)
    assert any(device.read_bytes()) == bool(nbytes)  # frames have been there


def test_a_name_that_is_not_installed_lists_those_that_are(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text("detector: {type: chequerboard}")
    done = limadask(environment, "run", str(tmp_path / "run.yaml"), "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (error["node"], error["field"], error["value"]) == ("detector", "type", "chequerboard")
    assert error["allowed"] == ["checkerboard", "dectris", "replay", "simulator"]
