"""Series that somebody else arms, taken one after the other by ``limadask run --repeat``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
from emulators.eiger import Eiger

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
RUN = """
detector: {{type: dectris, host: 127.0.0.1, port: {port}, stream: stream2, stream_port: {stream},
           timeout: 20, passive: true, channels: [threshold_1]}}
pipeline:
  - {{name: file, task: save_hdf5, folder: out, file_exists_policy: append}}
"""


def others_set(eiger: Eiger) -> None:
    """Set the detector as those do who control it."""
    if eiger.state == "na":
        eiger.command("initialize")
    eiger.ask("PUT", "/stream/api/1.8.0/config/format", "cbor")
    settings = {"trigger_mode": "ints", "ntrigger": 1, "count_time": 0.01, "frame_time": 0.02}
    for name, value in settings.items():
        eiger.put(name, value)
    eiger.put("threshold/2/mode", "disabled")  # it sends but one


def series(eiger: Eiger, count: int) -> None:
    """Take a series, as those do who control it."""
    eiger.put("nimages", count)
    eiger.command("arm")
    eiger.command("trigger")


def test_series_after_series_is_an_entry_of_the_same_master(eiger: Eiger, tmp_path: Path) -> None:
    others_set(eiger)
    path = tmp_path / "passive.yaml"
    path.write_text(RUN.format(port=eiger.port, stream=eiger.stream2_port))
    command = [Path(sys.executable).with_name("limadask"), "run", path, "--repeat", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        series(eiger, 3)
        series(eiger, 2)  # perhaps before the first is saved, and the next begun
        for line in process.stderr:
            if "run 2:" in line:
                break
        series(eiger, 4)
        for line in process.stderr:
            if "run 3:" in line:
                break
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        told = json.loads(process.stdout.read().splitlines()[-1])["acquisitions"]
        process.wait(60)
    assert [one["frames"]["present"] for one in told[:3]] == [3, 2, 4]
    assert [one["frames"]["absent"] for one in told[:3]] == [0, 0, 0]
    assert [one["state"] for one in told[:3]] == ["done"] * 3
    with h5py.File(tmp_path / "out" / "limadask_master.h5") as file:
        shapes = [file[name]["data/data"].shape[0] for name in ("entry", "entry_2", "entry_3")]
        data = file["entry_3/data/data"]
        assert data.shape[1:] == (4362, 4148)
    assert shapes == [3, 2, 4]
