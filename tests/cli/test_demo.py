"""``limadask demo``, and the README's snippet in the folder it leaves behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
import yaml

from limadask_benchmarks.demo.picture import mean_image

Limadask = Callable[..., "subprocess.CompletedProcess[str]"]
Demo = tuple[Path, dict[str, Any], str]
README = Path(__file__).parent.parent.parent / "README.md"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run a short demo; return its folder, what it told as JSON, and in words."""
    folder = tmp_path_factory.mktemp("demo") / "limadask-demo"
    command = [sys.executable, "-m", "limadask", "demo", "--frames", "60", "--json"]
    done = subprocess.run(
        [*command, "--output", str(folder)], capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_the_demo_leaves_what_it_promises(demo: Demo) -> None:
    folder, told, _ = demo
    assert told["frames"] == {"present": 60, "partial": 0, "absent": 0, "vetoed": 0}
    for name in ("mask.h5", "flat.h5", "demo.yaml", "demo.png", "raw_master.h5"):
        assert (folder / name).is_file(), name
    assert (folder / "demo.png").read_bytes().startswith(b"\x89PNG")
    assert yaml.safe_load((folder / "demo.yaml").read_text())["detector"]["modules"] == 2
    with h5py.File(folder / "raw_master.h5") as file:
        assert file["entry/data/images"].shape == (60, 2, 1062, 1028)
        assert (file["entry/data/images"][30, :, 512:550] == 65535).all()
    with h5py.File(folder / "corrected_master.h5") as file:
        assert file["entry/data/images"].dtype == "f4"
    with fabio.open(str(folder / "raw_master.h5")) as images:
        assert images.nframes == 60
        assert images.getframe(30).data.shape == (1062, 1028)


def test_the_summary_names_paths_rates_and_the_ledger(demo: Demo) -> None:
    folder, told, said = demo
    assert "done: 60 frames (60 present)" in said
    assert f"{told['elapsed']:.1f} s, {told['fps']:.0f} frames/s acquired" in said
    assert told["elapsed"] > 0
    assert 0 < told["fps"] < 2000
    for prefix in ("raw", "corrected"):
        assert f"{prefix}: {folder}/{prefix}_master.h5" in said
        (count, size), *_ = re.findall(rf"^{prefix}: (\d+) files, (\d+) MB$", said, re.M)
        assert int(count) == len(list(folder.glob(f"{prefix}_*.h5"))) > 1
        assert int(size) > 0
    assert f"picture: {folder}/demo.png" in said


def test_the_picture_shows_the_mean_of_the_whole_detector(demo: Demo) -> None:
    mean = mean_image(demo[0] / "raw_master.h5")
    assert mean.shape == (1062, 1028)
    assert np.isnan(mean[512:550]).all()
    with h5py.File(demo[0] / "raw_master.h5") as file:
        row = file["entry/data/data"][:, 100]
    np.testing.assert_allclose(mean[100], row.mean(axis=0))


def test_its_yaml_runs_again(demo: Demo, limadask: Limadask) -> None:
    done = limadask("run", demo[0] / "demo.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frames"]["present"] == 60


def test_no_room_is_found_out_before(limadask: Limadask, tmp_path: Path) -> None:
    done = limadask("demo", "--frames", "1000000000", "--output", tmp_path / "x", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert (error["node"], error["field"]) == ("demo", "output")
    assert not (tmp_path / "x").exists()


def test_the_snippet_of_the_readme_runs_as_it_stands(
    demo: Demo,
) -> None:
    (snippet,) = re.findall(r"```python\n(import limadask as ld\n.*?)```", README.read_text(), re.S)
    checks = """
assert acq.state == ("acquired", "processed"), acq.state
counts = acq.record().counts()
assert sum(counts.values()) == 1000, counts
assert acq.data["stats"].sizes["frame"] == counts["present"] > 0
assert acq.observe["live"].latest().dims == ("band", "y", "x")
import h5py
with h5py.File(acq.files["file"]) as file:
    assert file["entry/data/images"].shape == (1000, 2, 1062, 1028)
client.shutdown()
"""
    program = demo[0] / "snippet.py"
    body = "".join(f"    {line}\n" for line in (snippet + checks).splitlines())
    program.write_text(f"def main():\n{body}\nif __name__ == '__main__':\n    main()\n")
    done = subprocess.run(
        [sys.executable, program.name], cwd=demo[0], capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
