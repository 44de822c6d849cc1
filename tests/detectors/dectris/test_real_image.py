"""The image of a real EIGER2 16M that comes with an emulator; nothing of it is kept here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cbor2
import h5py
import hdf5plugin
import numpy as np
import pytest
from oracle import decompress

from limadask_detectors.dectris import stream1, stream2
from limadask_detectors.dectris.cbor import Tag, loads

SHAPE = (4362, 4148)


@pytest.fixture(scope="module")
def folder() -> Path:
    """What ``tickit-devices`` has, where the emulator is installed."""
    home = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    root = Path(os.environ.get("LIMADASK_EMULATORS", Path(home) / "limadask" / "emulators"))
    found = sorted(root.glob("*/lib/python*/site-packages/tickit_devices/eiger/data"))
    if not found:
        pytest.skip(f"no emulator with a real image is installed in {root}")
    return found[0]


def test_stream2_has_the_pixels_that_hdf5_reads(folder: Path, tmp_path: Path) -> None:
    sent = (folder / "stream2" / "image.cbor").read_bytes()
    told = stream2.identify([sent])
    assert (told.kind, told.series, told.number) == ("image", 15614, 0)
    found = stream2.image(told)
    channel = found.channels["threshold_1"]
    assert (channel.shape, channel.dtype, channel.codec) == (SHAPE, np.uint16, "bshuf_lz4")
    assert found.times == (0.0, 0.00431746, 0.00431746)
    assert found.timestamp == 1_696_348_069_434_000_000
    with h5py.File(tmp_path / "image.h5", "w") as file:
        options = hdf5plugin.Bitshuffle(nelems=0, cname="lz4")
        data = file.create_dataset("data", SHAPE, "u2", chunks=SHAPE, **options)
        data.id.write_direct_chunk((0, 0), bytes(channel.chunk))
    with h5py.File(tmp_path / "image.h5") as file:
        pixels = file["data"][()]
    raw = decompress(bytes(channel.chunk), "bslz4", elem_size=2)
    np.testing.assert_array_equal(pixels, np.frombuffer(raw, "u2").reshape(SHAPE))
    assert np.count_nonzero(pixels[pixels != 65535]) == 18


def test_the_start_is_what_cbor2_reads(folder: Path) -> None:
    sent = (folder / "stream2" / "start.cbor").read_bytes()
    told = stream2.identify([sent])
    assert (told.kind, told.series) == ("start", 15614)
    mine, other = loads(sent), cbor2.loads(sent)
    assert mine.keys() == other.keys()
    assert mine["goniometer"] == other["goniometer"]
    assert mine["incident_wavelength"] == 0.918381073013
    assert mine["arm_date"] == Tag(0, "2023-10-03T17:47:48.329000+02:00")


def test_stream_v1_has_an_image_too(folder: Path) -> None:
    payload = (folder / "frame_sample").read_bytes()
    about = {"htype": "dimage_d-1.0", "shape": [SHAPE[1], SHAPE[0]], "type": "uint16",
             "encoding": "bs16-lz4<", "size": len(payload)}  # fmt: skip
    header = {"htype": "dimage-1.0", "series": 1, "frame": 2}
    parts = [json.dumps(header).encode(), json.dumps(about).encode(), payload]
    channel = stream1.image(stream1.identify(parts)).channels[""]
    assert channel.chunk is payload
    raw = decompress(payload, "bslz4", elem_size=2)
    assert len(raw) == 2 * SHAPE[0] * SHAPE[1]
