"""The commands on the page about deploying by hand, run as they are but for the port."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client

import limadask as ld

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "by-hand.md").read_text(encoding="utf-8")
RUN = """
detector: {type: simulator, shape: [64, 48]}
acquisition: {nb_frames: 20, expo_time: 0.001}
topology: {workers: 1, roles: separate}
pipeline:
  - {name: file, task: save_hdf5, folder: out, prefix: sample1}
"""
BOUND = 60.0
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "DASK_TEMPORARY_DIRECTORY": ".",
}


def commands(port: int) -> list[list[str]]:
    """Return the page's commands, with another port than the one that may be in use here."""
    (text,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [shlex.split(line.replace("8786", str(port))) for line in text.splitlines()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    """Run a command, and end it with all that it has started."""
    process = subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, start_new_session=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_commands_give_a_run_on_two_workers(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN)
    port = free_port()
    scheduler, receiver, processor, run = commands(port)
    without = ["--no-dashboard"]  # its port may be in use, too
    with (
        running(scheduler + without, tmp_path),
        running(receiver + without, tmp_path),
        running(processor + without, tmp_path),
        Client(f"tcp://127.0.0.1:{port}", timeout=BOUND) as client,
    ):
        client.wait_for_workers(2, timeout=BOUND)
        done = subprocess.run(
            [*run, "--json"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
            timeout=BOUND,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        software = ld.attach(client, told["uuid"]).parameters.software
    assert told["frames"]["present"] == 20
    assert Path(told["files"]["file"]).is_file()
    assert software is not None
    assert software.receivers == ("rx-0",)
    assert software.processors == ("proc-0",)
