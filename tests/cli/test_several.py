"""``limadask run`` with several files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest

Limadask = Callable[..., "subprocess.CompletedProcess[str]"]
RUN = """
detector: {{type: simulator, shape: [64, 48]{faults}}}
acquisition: {{nb_frames: {count}, expo_time: 0.001}}
pipeline:
  - {{name: file, task: save_hdf5, folder: out, prefix: {name}}}
"""


def written(folder: Path, name: str, count: int = 30, more: str = "", faults: str = "") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(RUN.format(name=name, count=count, faults=faults) + more)
    return path


def told(stdout: str) -> Any:
    return json.loads(stdout.splitlines()[-1])


@pytest.mark.parametrize("processing", ["live", "deferred"])
def test_they_run_in_the_order_given(limadask: Limadask, tmp_path: Path, processing: str) -> None:
    files = [written(tmp_path, "b"), written(tmp_path, "a", 20)]
    done = limadask("run", *files, "--processing", processing, "--json")
    assert done.returncode == 0, done.stderr
    first, second = told(done.stdout)["acquisitions"]
    assert (first["file"], second["file"]) == (str(files[0]), str(files[1]))
    for one, name, count in ((first, "b", 30), (second, "a", 20)):
        assert (one["state"], one["frames"]["present"]) == ("done", count)
        with h5py.File(one["files"]["file"]) as file:
            assert file["entry/data/data"].shape == (count, 64, 48)
            started = file["entry/start_time"].asstr()[()]
        assert one["files"]["file"] == str(tmp_path / "out" / f"{name}_master.h5")
        one["started"] = started
    assert first["started"] < second["started"]
    assert "2 of 2 acquired" in done.stderr


def test_one_that_fails_does_not_touch_the_others(limadask: Limadask, tmp_path: Path) -> None:
    bad = written(
        tmp_path, "bad", more="policy: {max_absent: 2}\n", faults=", faults: {drop: [1, 2, 3]}"
    )
    done = limadask("run", bad, written(tmp_path, "good"), "--json")
    assert done.returncode == 1
    failed, good = told(done.stdout)["acquisitions"]
    assert failed["state"] == "failed"
    assert "policy allows 2" in failed["error"]
    assert (good["state"], good["frames"]["present"], good["error"]) == ("done", 30, None)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("field", "buffers: {nbites: 3}\n", "nbites"),
        ("plan", "topology: {receivers: 2, dispatch: partial}\n", "has 1 module"),
        ("trigger", "", "gives no triggers"),
    ],
)
def test_a_mistake_in_the_last_is_found_before_the_first_begins(
    limadask: Limadask, tmp_path: Path, name: str, text: str, why: str
) -> None:
    first, last = written(tmp_path, "first"), written(tmp_path, name, more=text)
    if name == "trigger":
        last.write_text(last.read_text().replace("0.001", "0.001, trigger_mode: software"))
    done = limadask("run", first, last, "--json")
    assert done.returncode == 2, done.stderr
    assert why in str(told(done.stdout)["error"])
    assert str(last) in told(done.stdout)["error"]["message"]
    assert str(last) in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_may_not_write_the_same_files(limadask: Limadask, tmp_path: Path) -> None:
    first, same = written(tmp_path, "one"), tmp_path / "two.yaml"
    same.write_text(first.read_text())
    done = limadask("run", first, same, "--json")
    assert done.returncode == 2
    error = told(done.stdout)["error"]
    assert (error["node"], error["field"]) == ("file", "prefix")
    assert f"the same files as {first}" in error["message"]
    same.write_text(
        first.read_text().replace("prefix: one", "prefix: one, file_exists_policy: append")
    )
    done = limadask("run", first, same, "--json")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "out" / "one_master.h5") as file:
        assert {"entry", "entry_2"} <= set(file)


def test_a_cluster_that_is_not_there_fails_all(limadask: Limadask, tmp_path: Path) -> None:
    files = [written(tmp_path, "a"), written(tmp_path, "b")]
    done = limadask("run", *files, "--cluster", "tcp://127.0.0.1:9", "--timeout", "1", "--json")
    assert done.returncode == 1
    assert [one["state"] for one in told(done.stdout)["acquisitions"]] == ["failed", "failed"]


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_all(tmp_path: Path, times: int) -> None:
    files = [written(tmp_path, "a", 0), written(tmp_path, "b", 0)]
    command = [sys.executable, "-m", "limadask", "run", *map(str, files), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = ""
        for letter in iter(lambda: process.stderr.read(1), ""):
            seen += letter
            if re.search(r"[1-9]\d*frames", seen):
                break
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    first, second = told(stdout)["acquisitions"]
    assert first["state"] == "stopped"
    assert first["frames"]["present"] > 0
    assert (second["state"], second["nb_frames"]) == ("stopped", 0)
