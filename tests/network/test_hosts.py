"""Acquisitions across hosts with addresses of their own, and a link that is cut for a while."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
UNSHARE = (
    "unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child",
    "--mount-proc",
)  # fmt: skip
PROBE = "mount -t tmpfs none /run && ip link add probe type bridge && ip netns add probe"


@cache
def why_not() -> str:
    """Return why there can be no namespaces here; nothing if there can."""
    try:
        done = subprocess.run([*UNSHARE, "sh", "-c", PROBE], capture_output=True, text=True)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


def told_by(scenario: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a scenario in namespaces of its own."""
    if reason := why_not():
        pytest.skip(f"no network namespaces here: {reason}")
    command = [*UNSHARE, sys.executable, str(HERE / scenario), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def ran(folder: Path, host: str = "-", seconds: float = 0.0) -> dict[str, Any]:
    """Run an acquisition, and cut the link of a host."""
    told = told_by("cut_scenario.py", folder, host, str(seconds))
    assert sum(told["counts"].values()) == 400
    assert told["saved"]
    assert told["afterwards"] == 60
    return told


def test_an_acquisition_across_hosts(tmp_path: Path) -> None:
    told = ran(tmp_path)
    assert told["hosts"] == {
        "rx-0": "10.77.0.11", "proc-0": "10.77.0.12", "proc-1": "10.77.0.13",
    }  # fmt: skip
    assert told["counts"]["present"] == 400


def test_a_short_cut_costs_nothing(tmp_path: Path) -> None:
    assert ran(tmp_path, "proc-0", 0.3)["counts"]["present"] == 400


def test_blocks_of_a_host_without_a_link_go_to_another(tmp_path: Path) -> None:
    told = ran(tmp_path, "proc-1", 8.0)
    assert told["counts"]["present"] == 400
    assert told["elapsed"] < 60


def test_frames_of_a_receiver_without_a_link_have_a_cause(tmp_path: Path) -> None:
    told = ran(tmp_path, "rx-0", 8.0)
    assert told["counts"]["present"] > 50
    assert told["counts"]["absent"] > 0
    assert told["causes"] == ["receiver_lost"]
    assert told["elapsed"] < 60


def test_big_parts_of_two_hosts_are_put_together_on_a_third(tmp_path: Path) -> None:
    told = told_by("parts_scenario.py", tmp_path)
    assert told["counts"] == {"present": 20, "partial": 0, "absent": 0, "vetoed": 0}
    assert told["right"] == list(range(20))
    assert min(told["sent"]["rx-0"], told["sent"]["rx-1"]) >= 20 << 20  # 20 blocks of 1 MiB
