"""Damaged files: whatever is in them, a replay gives frames, losses or an error it names."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage
from fabio.tifimage import TifImage
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from limadask.detector import End, Frame, Lost, share
from limadask.errors import ConfigError
from limadask.parameters import AcquisitionParameters
from limadask_detectors import Replay

IMAGE = np.arange(120, dtype="i4").reshape(12, 10)
FORMATS = {"edf": EdfImage, "tif": TifImage, "cbf": CbfImage}
damages = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=20)


def replayed(camera: Replay) -> list[Any]:
    """Frames and losses; an error must be one that we name."""
    try:
        asked = AcquisitionParameters(nb_frames=0)
        hardware = share(asked, camera.info(), camera.capabilities()).hardware
        receiver = camera.receiver(0, 1)
        receiver.arm(camera.prepare(hardware, ("",)))
    except (ConfigError, OSError):
        return []
    items: list[Any] = []
    try:
        receiver.start()
        for _ in range(20):
            if not receiver.given:
                receiver.give(np.zeros((len(hardware.bands), *hardware.shape), hardware.dtype))
            item = receiver.take(0.0)
            if isinstance(item, End):
                return items
            items += [] if item is None else [item]
    except (ConfigError, OSError):
        return items
    finally:
        receiver.close()
    raise AssertionError("it does not end")


def damaged(data: bytes, damage: list[tuple[float, int]], cut: float) -> bytes:
    changed = bytearray(data)
    for place, value in damage:
        changed[int(place * (len(changed) - 1))] = value
    return bytes(changed[: int(cut * len(changed))])


@pytest.mark.filterwarnings("ignore")  # fabio's and NumPy's, about what they stumble over
@pytest.mark.parametrize("suffix", FORMATS)
@given(damage=damages, cut=st.sampled_from([1.0, 1.0, 0.9, 0.5, 0.1, 0.0]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_image_file(
    suffix: str, damage: list[tuple[float, int]], cut: float, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.{suffix}" for number in range(3)]
    for path in paths:
        FORMATS[suffix](data=IMAGE).write(str(path))
    paths[1].write_bytes(damaged(paths[1].read_bytes(), damage, cut))
    items = replayed(Replay(path=[str(path) for path in paths]))
    for item in items:
        assert isinstance(item, Frame | Lost)
    numbers = [item.index for item in items if isinstance(item, Frame)]
    assert numbers == sorted(set(numbers))
    assert 0 in numbers  # the sound one before it has come


FILTERS = {
    "bshuf_lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
    "bshuf_zstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    "blosc": dict(hdf5plugin.Blosc(cname="zstd")),
    "lz4": dict(hdf5plugin.LZ4()),
    "zip": {"compression": "gzip", "shuffle": True},
}


HEADER = struct.Struct(">QI")
"""Of bitshuffle and LZ4: bytes of the image, and of a block."""
MALFORMED = [
    HEADER.pack(480, 8192)[:7],
    HEADER.pack(480, 8192),
    HEADER.pack(480, 0) + bytes(60),
    HEADER.pack(480, 1) + bytes(60),
    HEADER.pack(480, 0xFFFFFFFF) + bytes(60),
    HEADER.pack(0, 8192) + bytes(60),
    HEADER.pack(479, 8192) + bytes(479),
    HEADER.pack(1 << 40, 8192) + bytes(60),
    HEADER.pack(0xFFFFFFFFFFFFFFFF, 8192) + b"\xff" * 60,
    HEADER.pack(480, 512) + b"\x7f\xff\xff\xff" + bytes(60),  # a block longer than what is there
    HEADER.pack(480, 512) + b"\x80\x00\x00\x00" + bytes(60),
    b"\x02\x01\x01\x04" + struct.pack("<III", 1 << 31, 480, 1 << 31) + bytes(60),  # Blosc
    b"\x02\x01\x02\x04" + struct.pack("<III", 480, 0, 76) + bytes(60),
]
"""Chunks that tell sizes which are not theirs."""


def with_malformed(test: Any) -> Any:
    """Try a test with all malformed chunks too."""
    for chunk in MALFORMED:
        test = example(damage=chunk, cut=1.0)(test)
    return test


@pytest.mark.parametrize("compression", FILTERS)
@pytest.mark.parametrize("is_virtual", [False, True], ids=["plain", "virtual"])
@with_malformed
@given(damage=st.one_of(st.binary(min_size=1, max_size=600), damages), cut=st.floats(0.01, 1))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_chunk(
    compression: str,
    is_virtual: bool,
    damage: bytes | list[tuple[float, int]],
    cut: float,
    tmp_path: Path,
) -> None:
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        images = np.arange(360, dtype="i4").reshape(3, 12, 10)
        made = file.create_dataset("d", data=images, chunks=(1, 12, 10), **FILTERS[compression])
        if isinstance(damage, list):
            damage = damaged(made.id.read_direct_chunk((1, 0, 0))[1], damage, cut) or b"."
        made.id.write_direct_chunk((1, 0, 0), damage)
    if is_virtual:
        layout = h5py.VirtualLayout((3, 12, 10), "i4")
        layout[...] = h5py.VirtualSource(path, "d", (3, 12, 10))
        path = tmp_path / "master.h5"
        with h5py.File(path, "w") as file:
            file.create_virtual_dataset("d", layout)
    first, middle, last = replayed(Replay(path=str(path)))
    assert isinstance(first, Frame)
    assert isinstance(last, Frame)
    assert isinstance(middle, Frame) or middle.cause == "decode_error"
