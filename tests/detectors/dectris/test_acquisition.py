"""Whole acquisitions from an EIGER that nobody here wrote, on a cluster of real processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cbor2
import h5py
import hdf5plugin  # noqa: F401 - its filters
import numpy as np
import pytest
import zmq
from distributed import Client
from emulators.eiger import Eiger
from oracle import decompress

import limadask as ld
from limadask_detectors import Dectris
from limadask_tasks import RoiStatistics, SaveHdf5

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
ROI = ld.Rect(0, 0, 512, 1028)


@pytest.fixture(scope="module")
def pictures(eiger_home: Path) -> dict[str, bytes]:
    """The images that the emulator sends by its two streams, as a real detector compressed them."""
    (data,) = eiger_home.glob("lib/python*/site-packages/tickit_devices/eiger/data")
    found: list[bytes] = []

    def payloads(*given: Any) -> Any:
        tag = given[0] if isinstance(given[0], cbor2.CBORTag) else given[1]
        if tag.tag == 56500:
            found.append(bytes(tag.value[2]))
        return tag.value

    cbor2.loads((data / "stream2" / "image.cbor").read_bytes(), tag_hook=payloads)
    return {"v1": (data / "frame_sample").read_bytes(), "stream2": found[0]}


def camera(eiger: Eiger, stream: str, **fields: Any) -> Dectris:
    port = {"v1": eiger.stream1_port, "stream2": eiger.stream2_port}[stream]
    fixed = {"host": "127.0.0.1", "port": eiger.port, "stream": stream, "stream_port": port}
    # it says that it has two thresholds, and sends one
    return Dectris(**{**fixed, "timeout": 20, "channels": ("threshold_1",), **fields})


def pipeline(folder: Path, **saver: Any) -> ld.Pipeline:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(folder), **saver))
    pipe.add("stats", RoiStatistics(rois=[ROI]))
    return pipe


def finished(acquisition: ld.Acquisition) -> ld.Acquisition:
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=100)
    return acquisition


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for path in tmp_path.glob("*.h5"):  # half a megabyte each frame
        path.unlink()


@pytest.mark.parametrize("stream", ["v1", "stream2"])
@pytest.mark.parametrize("receivers", [1, 2])
def test_the_detectors_own_chunks_are_in_the_files_and_tasks_see_its_pixels(
    client: Client,
    eiger: Eiger,
    files: Path,
    pictures: dict[str, bytes],
    stream: str,
    receivers: int,
) -> None:
    topology = ld.Topology(
        receivers=receivers, workers=receivers, dispatch="dynamic" if receivers > 1 else "single"
    )
    detector = camera(
        eiger,
        stream,
        omega_start=10,
        omega_increment=0.25,
        photon_energy=12400,
        threshold_energies=(6200,),
    )
    done = finished(
        ld.Acquisition(
            client, detector, pipeline(files), nb_frames=7, expo_time=0.02, topology=topology
        )
    )
    assert done.record().counts()["present"] == 7
    chunks = 0
    for path in files.glob("limadask_[0-9]*.h5"):
        with h5py.File(path) as file:
            data = file["entry/instrument/detector/data"]
            for slot in range(len(data)):
                assert bytes(data.id.read_direct_chunk((slot, 0, 0))[1]) == pictures[stream]
                chunks += 1
    assert chunks == 7
    with h5py.File(done.files["file"]) as file:
        image = file["entry/data/data"][3]
        entry = file["entry"]
        told = entry["instrument/detector"]
        assert entry["definition"].asstr()[()] == "NXmx"
        assert told["description"].asstr()[()] == "Simulated Eiger X 16M Detector"
        assert told["serial_number"].asstr()[()] == "EIGERSIM001"
        assert told["threshold_energy"][()] == 6200
        assert told["distance"][()] == 2.0
        assert entry["instrument/beam/incident_wavelength"][()] == pytest.approx(0.99987, abs=1e-5)
        np.testing.assert_allclose(entry["sample/transformations/omega"], 10 + 0.25 * np.arange(7))
        assert np.isfinite(told["start_time"][()]).all()
        assert int(entry["parameters/hardware/series"].asstr()[()]) > 0
        assert entry["parameters/hardware/settings/photon_energy"][()] == 12400
    assert image.shape == (4362, 4148)
    expected = np.frombuffer(decompress(pictures[stream], "bslz4", elem_size=2), "<u2")
    np.testing.assert_array_equal(image.ravel(), expected)
    if stream == "stream2":  # as others have counted
        valid = image[image != 65535]
        assert (valid.size, int((valid > 0).sum())) == (16_840_501, 18)
    part = image[:512, :1028]
    sums = done.data["stats"]["sum"].values.ravel()
    assert set(sums.tolist()) == {float(part.sum(dtype=np.int64))}
    if stream == "stream2" and receivers == 1:
        validate = Path(sys.executable).with_name("nxvalidate")
        checked = subprocess.run(
            [validate, "-a", "NXmx", done.files["file"]], capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip
        assert "Total number of errors: 0" in checked.stdout, checked.stdout


def test_every_second_message_that_somebody_else_takes_is_absent(
    client: Client, eiger: Eiger, files: Path
) -> None:
    """Whoever pulls from the stream as well gets every second message: the start or the end, too.

    Nothing tells the receiver so; the run ends by what control says.
    """
    detector = camera(eiger, "stream2")
    with zmq.Context() as context, context.socket(zmq.PULL) as thief:
        thief.connect(f"tcp://127.0.0.1:{eiger.stream2_port}")
        done = finished(
            ld.Acquisition(client, detector, pipeline(files), nb_frames=8, expo_time=0.02)
        )
        stolen = 0
        while thief.poll(200):
            thief.recv()
            stolen += 1
    assert stolen == 5  # of a start, eight images, and an end
    record = done.record()
    counts = record.counts()
    assert counts["present"] == counts["absent"] == 4
    present = [run.first for run in record.runs() if run.status == ld.Status.PRESENT]
    assert present in ([0, 2, 4, 6], [1, 3, 5, 7])
    causes = {run.cause for run in record.runs() if run.status == ld.Status.ABSENT}
    assert causes == {"detector"}
    with h5py.File(done.files["file"]) as file:
        status = file["entry/data/frame_status"][()]
    assert [int(one) for one in np.flatnonzero(status == 1)] == present


@pytest.mark.parametrize("mode", ["software", "endless"])
def test_triggers_and_stops(client: Client, eiger: Eiger, mode: str) -> None:
    fields: dict[str, Any] = {"nb_frames": 0, "expo_time": 0.02}
    if mode == "software":
        fields = {"nb_frames": 4, "trigger_mode": "software", "nb_frames_per_trigger": 2}
    acquisition = ld.Acquisition(client, camera(eiger, "stream2"), ld.Pipeline(), **fields)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        if mode == "software":
            acquisition.trigger()
            acquisition.trigger()
        else:
            for event in acquisition.events():
                if getattr(event, "count", 0) >= 5:
                    break
            acquisition.stop()
        acquisition.wait(timeout=60)
    counts = acquisition.record().counts()
    assert counts["present"] == 4 if mode == "software" else counts["present"] >= 5
    assert eiger.state == "idle"


def test_killed_in_a_run_the_run_ends_and_the_next_works(client: Client, eiger: Eiger) -> None:
    acquisition = ld.Acquisition(
        client, camera(eiger, "stream2"), ld.Pipeline(), nb_frames=500, expo_time=0.02
    )
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        for event in acquisition.events():
            if getattr(event, "count", 0) >= 5:
                break
        eiger.kill()
        with pytest.raises(ld.AcquisitionFailed, match="the detector: "):
            acquisition.wait(timeout=60)
    counts = acquisition.record().counts()
    assert counts["present"] >= 5
    assert counts["present"] + counts["absent"] == 500
    eiger.start()
    done = finished(ld.Acquisition(client, camera(eiger, "stream2"), ld.Pipeline(), nb_frames=3))
    assert done.record().counts()["present"] == 3
