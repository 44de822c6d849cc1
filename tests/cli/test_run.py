"""``limadask run`` and its companions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from limadask.cluster.local import process_cluster

Limadask = Callable[..., "subprocess.CompletedProcess[str]"]
KEYS = {
    "uuid", "state", "nb_frames", "frames", "absent", "partial", "vetoed", "files", "elapsed",
    "fps", "failures", "error",
}  # fmt: skip


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return dict(json.loads(done.stdout.splitlines()[-1]))


RUN = """
detector: {type: simulator, shape: [64, 48], faults: {drop: [3, 4, 9]}}
acquisition: {nb_frames: 50, expo_time: 0.001}
pipeline:
  - {name: stats, task: roi_statistics, rois: [{y: 1, x: 2, height: 8, width: 8}]}
  - {name: file, task: save_hdf5, folder: out, prefix: sample1}
"""


def test_a_run_ends_with_0_and_one_json_object(limadask: Limadask, tmp_path: Path) -> None:
    done = limadask("run", written(tmp_path, RUN), "--json")
    assert done.returncode == 0, done.stderr
    summary = told(done)
    assert set(summary) == KEYS
    assert summary["state"] == "done"
    assert summary["frames"] == {"present": 47, "partial": 0, "absent": 3, "vetoed": 0}
    assert summary["absent"] == [[3, 4, "detector"], [9, 9, "detector"]]
    assert summary["files"] == {"file": str(tmp_path / "out" / "sample1_master.h5")}
    assert summary["error"] is None
    assert 0 < summary["fps"] < 2000
    assert "50" in done.stderr  # the progress bar and the summary
    with h5py.File(summary["files"]["file"]) as file:
        assert file["entry/data/data"].shape == (50, 64, 48)


def test_a_run_outside_its_policy_ends_with_1(limadask: Limadask, tmp_path: Path) -> None:
    done = limadask("run", written(tmp_path, RUN + "policy: {max_absent: 2}\n"), "--json")
    assert done.returncode == 1
    summary = told(done)
    assert set(summary) == KEYS
    assert summary["state"] == "failed"
    assert "policy allows 2" in summary["error"]
    assert sum(summary["frames"].values()) == 50
    assert Path(summary["files"]["file"]).is_file()


def test_a_bad_file_ends_with_2_and_says_where(limadask: Limadask, tmp_path: Path) -> None:
    done = limadask("run", written(tmp_path, RUN.replace("rois:", "rios:")), "--json")
    assert done.returncode == 2
    error = told(done)["error"]
    assert (error["node"], error["field"]) == ("stats", "rios")
    assert error["allowed"] == ["coordinates", "rois"]
    assert "rios" in done.stderr


def test_what_is_no_yaml_is_refused(limadask: Limadask, tmp_path: Path) -> None:
    for text in ("detector: [", "a: 1\na: 2", "!!python/object/apply:os.system ['true']", "- 3"):
        done = limadask("check", written(tmp_path, text), "--json")
        assert done.returncode == 2, text
        assert told(done)["error"]["node"] == "file"
    assert limadask("check", tmp_path / "nothing.yaml").returncode == 2


def test_check_says_what_would_be_done(limadask: Limadask, tmp_path: Path) -> None:
    done = limadask("check", written(tmp_path, RUN))
    assert done.returncode == 0, done.stderr
    assert "stats (roi_statistics) after input" in done.stdout
    assert f"file → {tmp_path}/out/sample1_master.h5" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_local_cluster_has_the_workers_that_are_asked_for(
    limadask: Limadask, tmp_path: Path
) -> None:
    path = written(tmp_path, RUN + "topology: {workers: 2}\n")
    done = limadask("run", path, "--workers", "1", "--json")
    assert done.returncode == 2
    error = told(done)["error"]
    assert (error["node"], error["field"], error["value"]) == ("topology", "workers", 2)
    assert error["allowed"] == "at most 1"
    done = limadask("run", path, "--workers", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert told(done)["frames"]["present"] == 47


def test_a_running_cluster_is_used(limadask: Limadask, tmp_path: Path) -> None:
    with process_cluster(1) as cluster:
        done = limadask("run", written(tmp_path, RUN), "--cluster", cluster.address, "--json")
    assert done.returncode == 0, done.stderr
    assert told(done)["frames"]["present"] == 47


def test_a_cluster_that_is_not_there_ends_with_1(limadask: Limadask, tmp_path: Path) -> None:
    path = written(tmp_path, RUN)
    done = limadask("run", path, "--cluster", "tcp://127.0.0.1:9", "--json", "--timeout", "1")
    assert done.returncode == 1
    assert told(done)["state"] == "failed"


def test_ctrl_c_stops_after_this_frame(tmp_path: Path) -> None:
    path = written(tmp_path, RUN.replace("nb_frames: 50", "nb_frames: 0"))
    command = [sys.executable, "-m", "limadask", "run", str(path), "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = ""
        while "received" not in seen or "0 received" in seen[-40:]:
            seen += process.stderr.read(1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    summary = json.loads(stdout.splitlines()[-1])
    assert summary["state"] == "stopped"
    assert summary["frames"]["present"] == summary["nb_frames"] - 3


def test_dask_lima_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dask", "lima", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    for command in ("run", "check", "demo", "bench", "schema", "plugins"):
        assert command in done.stdout


def test_the_schema_knows_all_plugins(limadask: Limadask) -> None:
    schema = json.loads(limadask("schema").stdout)
    detectors = schema["properties"]["detector"]["anyOf"]
    assert {one["properties"]["type"]["const"] for one in detectors} >= {"simulator", "replay"}
    tasks = schema["properties"]["pipeline"]["items"]["anyOf"]
    names = {one["properties"]["task"]["const"] for one in tasks}
    assert {"mask", "roi_statistics", "save_hdf5"} <= names


def test_an_unknown_benchmark_lists_those_there_are(limadask: Limadask) -> None:
    done = limadask("bench", "nothing")
    assert done.returncode == 2
    assert "spine" in done.stderr
