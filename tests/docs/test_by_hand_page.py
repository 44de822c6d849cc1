"""The commands on the page about deploying by hand, run as they are but for the port."""

from __future__ import annotations

import json
from pathlib import Path

from distributed import Client
from pages import BOUND, commands, free_port, printed, running

import limadask as ld

RUN = """
detector: {type: simulator, shape: [64, 48]}
acquisition: {nb_frames: 20, expo_time: 0.001}
topology: {workers: 1, roles: separate}
pipeline:
  - {name: file, task: save_hdf5, folder: out, prefix: sample1}
"""


def test_the_commands_give_a_run_on_two_workers(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN)
    port = free_port()
    scheduler, receiver, processor, run = commands("by-hand.md", port)
    with (
        running(scheduler, tmp_path),
        running(receiver, tmp_path),
        running(processor, tmp_path),
        Client(f"tcp://127.0.0.1:{port}", timeout=BOUND) as client,
    ):
        client.wait_for_workers(2, timeout=BOUND)
        told = json.loads(printed([*run, "--json"], tmp_path).splitlines()[-1])
        software = ld.attach(client, told["uuid"]).parameters.software
    assert told["frames"]["present"] == 20
    assert Path(told["files"]["file"]).is_file()
    assert software is not None
    assert software.receivers == ("rx-0",)
    assert software.processors == ("proc-0",)
