"""``limadask run --repeat``: run after run until somebody stops it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

Limadask = Callable[..., "subprocess.CompletedProcess[str]"]
RUN = """
detector: {{type: simulator, shape: [64, 48]}}
acquisition: {{nb_frames: {count}, expo_time: 0.001}}
pipeline:
  - {{name: file, task: save_hdf5, folder: out, file_exists_policy: {policy}}}
"""


def test_run_after_run_is_added_to_the_same_master_until_ctrl_c(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(count=30, policy="append"))
    command = [Path(sys.executable).with_name("limadask"), "run", path, "--repeat", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stderr:
            if "run 3:" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
        stdout = process.stdout.read()
        assert process.wait(60) == 0, rest
    done = json.loads(stdout.splitlines()[-1])["acquisitions"]
    assert len(done) >= 3
    assert [one["frames"]["present"] for one in done[:3]] == [30] * 3
    with h5py.File(tmp_path / "out" / "limadask_master.h5") as file:
        assert {"entry", "entry_2", "entry_3"} <= set(file)
        assert file["entry_3/data/data"].shape == (30, 64, 48)


@pytest.mark.parametrize("policy", ["abort", "overwrite"])
def test_files_that_would_be_in_the_way_are_refused_at_once(
    limadask: Limadask, tmp_path: Path, policy: str
) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(count=30, policy=policy))
    done = limadask("run", path, "--repeat")
    assert done.returncode == 2
    assert "file_exists_policy: every run is added" in done.stderr
    assert "allowed: ['append']" in done.stderr


def test_only_one_file_is_repeated(limadask: Limadask, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(count=30, policy="append"))
    done = limadask("run", path, path, "--repeat")
    assert done.returncode == 2
    assert "--repeat takes one FILE" in done.stderr
