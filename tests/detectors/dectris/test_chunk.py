"""Payloads are byte for byte what HDF5 filters hold, or are refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

from limadask_benchmarks.receive.images import bare_block, compressed
from limadask_detectors.dectris import chunk

SHAPE = (37, 211)
FILTERS: dict[str, Any] = {"bslz4": hdf5plugin.Bitshuffle(nelems=0, cname="lz4"),
                           "lz4": hdf5plugin.LZ4(), "none": {}}  # fmt: skip


def pixels(dtype: str = "uint16", shape: tuple[int, int] = SHAPE) -> NDArray[Any]:
    return np.random.default_rng(1).poisson(0.5, shape).astype(dtype)


def as_read(payload: Any, like: NDArray[Any], compression: str, folder: Path) -> NDArray[Any]:
    """What HDF5 reads of a chunk that was written as it is."""
    with h5py.File(folder / "chunk.h5", "w") as file:
        data = file.create_dataset(
            "data", like.shape, like.dtype, chunks=like.shape, **FILTERS[compression]
        )
        data.id.write_direct_chunk((0, 0), bytes(payload))
    with h5py.File(folder / "chunk.h5") as file:
        return np.asarray(file["data"][()])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_bitshuffled_pixels(dtype: str, tmp_path: Path) -> None:
    image = pixels(dtype)
    payload = compressed(image, "bslz4")
    made = chunk.bshuf_lz4(memoryview(payload), image.nbytes, image.itemsize)
    assert isinstance(made, memoryview)
    assert made.obj is payload
    np.testing.assert_array_equal(as_read(made, image, "bslz4", tmp_path), image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_a_header_that_an_emulator_left_out_is_made(dtype: str, tmp_path: Path) -> None:
    image = pixels(dtype)
    payload = compressed(image, "bslz4")
    made = chunk.bshuf_lz4(bytes(12) + payload[12:], image.nbytes, image.itemsize)
    assert made == payload
    np.testing.assert_array_equal(as_read(made, image, "bslz4", tmp_path), image)


def test_lz4_with_its_header_is_left_alone(tmp_path: Path) -> None:
    image = pixels()
    payload = compressed(image, "lz4")
    made = chunk.lz4(memoryview(payload), image.nbytes)
    assert isinstance(made, memoryview)
    assert made.obj is payload
    np.testing.assert_array_equal(as_read(made, image, "lz4", tmp_path), image)


def test_a_bare_block_of_lz4_gets_its_header(tmp_path: Path) -> None:
    image = pixels("uint32")
    payload = compressed(image, "lz4")
    made = chunk.lz4_of_block(memoryview(bare_block(payload)), image.nbytes)
    assert made == payload
    np.testing.assert_array_equal(as_read(made, image, "lz4", tmp_path), image)


def test_plain_pixels_are_left_alone() -> None:
    payload = pixels().tobytes()
    made = chunk.plain(memoryview(payload), SHAPE, np.dtype("<u2"))
    assert isinstance(made, memoryview)
    assert made.obj is payload


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [">u2", ">u4", "<u4", ">f8", "u1"])
def test_other_orders_are_turned(dtype: str, order: Any) -> None:
    image = pixels(dtype)
    made = chunk.plain(image.tobytes(order), SHAPE, np.dtype(dtype), order)
    found = np.frombuffer(made, np.dtype(dtype).newbyteorder("<")).reshape(SHAPE)
    np.testing.assert_array_equal(found, image)


NBYTES = 37 * 211 * 2


@pytest.mark.parametrize(
    ("total", "block", "size", "says"),
    [
        (NBYTES + 2, 8192, 9000, "tells of 15616 bytes"),
        (NBYTES, 0, 9000, "in blocks of 0"),
        (NBYTES, 8191, 9000, "not of 8 pixels of 2 bytes"),
        (NBYTES, 8, 90000, "not of 8 pixels of 2 bytes"),
        (NBYTES, 512, 100, "too few for 30 blocks"),
        (NBYTES, 8192, 11, "too few for a header"),
        (NBYTES, 8192, 0, "too few for a header"),
    ],
)
def test_bitshuffled_pixels_that_cannot_be(total: int, block: int, size: int, says: str) -> None:
    payload = (struct.pack(">QI", total, block) + b"\1" * size)[:size]
    with pytest.raises(ValueError, match=says):
        chunk.bshuf_lz4(payload, NBYTES, 2)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (struct.pack(">QI", NBYTES - 1, NBYTES) + bytes(100), "tells of 15613 bytes"),
        (struct.pack(">QI", NBYTES, 0) + bytes(100), "in blocks of 0"),
        (struct.pack(">QI", NBYTES, NBYTES) + bytes(4), "too few for 1 blocks"),
        (bytes(11), "too few for a header"),
    ],
)
def test_lz4_that_cannot_be(payload: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        chunk.lz4(payload, NBYTES)


def test_a_block_that_would_be_taken_for_pixels_is_refused() -> None:
    for size in (0, NBYTES):
        with pytest.raises(ValueError, match=f"{size} bytes of LZ4 are no image"):
            chunk.lz4_of_block(bytes(size), NBYTES)


@pytest.mark.parametrize("size", [0, NBYTES - 1, NBYTES + 1])
def test_plain_pixels_are_as_many_as_the_image_has(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes are no image of {NBYTES}"):
        chunk.plain(bytes(size), SHAPE, np.dtype("<u2"))
