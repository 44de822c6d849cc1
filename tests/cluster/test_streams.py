"""One acquisition streams, and others listen: another acquisition, and who is too slow."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client
from emulators.control_unit import ControlUnit

import limadask as ld
from limadask_detectors import Dectris, Simulator
from limadask_tasks import Observe, SaveHdf5, StreamZmq

SHAPE, BANDS = (48, 64), ["threshold_1", "threshold_2"]


def port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def pipeline(**nodes: ld.Task) -> ld.Pipeline:
    made = ld.Pipeline()
    for name, task in nodes.items():
        made.add(name, task)
    return made


@pytest.mark.parametrize("compression", ["bshuf_lz4", "none"])
def test_another_acquisition_receives_what_one_streams(
    client: Client, tmp_path: Path, compression: Any
) -> None:
    """It takes the stream for that of a DECTRIS detector, which somebody else controls."""
    camera = Simulator(shape=SHAPE, bands=BANDS, compression=compression)
    number = port()
    sink = StreamZmq(address=f"tcp://127.0.0.1:{number}", patience=20)
    unit = ControlUnit()
    for axis, size in zip("yx", SHAPE, strict=True):
        unit.config[f"{axis}_pixels_in_detector"]["value"] = size
    unit.config["threshold/2/mode"]["value"] = "enabled"
    unit.stream["mode"]["value"], unit.stream["format"]["value"] = "enabled", "cbor"
    unit.state = "acquire"
    with unit.serving():
        detector = Dectris(
            host="127.0.0.1", port=unit.port, stream_port=number, passive=True, timeout=5
        )
        saving = SaveHdf5(folder=str(tmp_path))
        sender = ld.Acquisition(client, camera, pipeline(stream=sink), nb_frames=40, expo_time=1e-3)
        listener = ld.Acquisition(client, detector, pipeline(file=saving))
        with listener, sender:
            listener.prepare()
            listener.start()
            sender.prepare()
            sender.start()
            sender.wait(timeout=60)
            listener.wait(timeout=60)
    assert sender.record().counts()["present"] == 40
    assert listener.record().counts()["present"] == 40
    with h5py.File(listener.files["file"]) as file:
        for one in range(40):
            np.testing.assert_array_equal(file["entry/data/images"][one], camera.frame(one))
        stamps = file["entry/data/timestamp"][()]
    sent = sender.ledger["timestamp"].values.astype("i8")
    assert abs(stamps - sent).max() < 1000  # the stream's dates have microseconds


@pytest.mark.parametrize("when_slow", ["wait", "drop"])
def test_a_run_that_nobody_listens_to_ends_and_tells(client: Client, when_slow: Any) -> None:
    sink = StreamZmq(address=f"tcp://127.0.0.1:{port()}", when_slow=when_slow, patience=0.2)
    camera = Simulator(shape=SHAPE)
    acquisition = ld.Acquisition(
        client, camera, pipeline(stream=sink, live=Observe()), nb_frames=20, expo_time=1e-3
    )
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    counts, notes = acquisition.record().counts(), acquisition.notes("stream")
    if when_slow == "drop":
        assert counts["present"] == 20
        dropped = [number for _, note in notes for number in note["dropped"]]
        assert sorted(dropped) == list(range(20))
    else:
        assert counts["partial"] == 20
        assert acquisition.record().ranges(ld.Status.PARTIAL) == [(0, 19, "task_error:stream")]
        assert "nobody has listened" in acquisition.ledger.attrs["failures"][0]
        assert notes == []
