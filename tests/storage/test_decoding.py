"""Compressed chunks: what can be decoded is, what cannot is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from limadask.frames import Codec, Frames, Packed
from limadask.storage import decodable, encoder, sound, unpack, unpacked

DTYPES = ["u1", "u2", "u4", "i4", "f4", "f8"]


def packed(chunks: list[list[bytes]], shape: tuple[int, int], dtype: str, codec: Codec) -> Packed:
    sizes = np.array([[len(one) for one in bands] for bands in chunks], np.int64)
    flat = sizes.ravel()
    offsets = (np.cumsum(flat) - flat).reshape(sizes.shape)
    data = np.frombuffer(b"".join(one for bands in chunks for one in bands), np.uint8)
    return Packed(data, offsets, sizes, codec, shape, np.dtype(dtype))


def images(shape: tuple[int, ...], dtype: str, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).poisson(0.7, shape).astype(dtype)


def filtered(image: NDArray[Any], path: Path, codec: Codec, **options: Any) -> bytes:
    """Return what HDF5's own filter makes of an image."""
    makers: dict[str, Any] = {
        "bshuf_lz4": lambda: hdf5plugin.Bitshuffle(cname="lz4", **options),
        "lz4": lambda: hdf5plugin.LZ4(**options),
    }
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", data=image, chunks=image.shape, **makers[codec]())
        chunk = data.id.read_direct_chunk((0, 0))[1]
    return bytes(chunk)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("codec", ["none", "bshuf_lz4"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (1, 8), (64, 48), (107, 211)])
def test_what_was_encoded_comes_back(dtype: str, codec: Any, shape: tuple[int, int]) -> None:
    pixels = images((3, 2, *shape), dtype)
    encode = encoder(codec)
    one = packed([[bytes(encode(band)) for band in frame] for frame in pixels], shape, dtype, codec)
    assert decodable(one).all()
    out = np.empty_like(pixels)
    unpack(one[1:], out[1:])
    unpack(one[:1], out[:1])
    np.testing.assert_array_equal(out, pixels)


@pytest.mark.parametrize("codec", ["bshuf_lz4", "lz4"])
@pytest.mark.parametrize("nelems", [0, 64, 1024])
@pytest.mark.parametrize("dtype", ["u2", "u4"])
def test_the_filters_chunks_are_decoded(
    codec: Any, nelems: int, dtype: str, tmp_path: Path
) -> None:
    image = images((61, 67), dtype)
    options = {"nelems": nelems} if codec == "bshuf_lz4" else {"nbytes": nelems}
    one = packed(
        [[filtered(image, tmp_path / "a.h5", codec, **options)]], image.shape, dtype, codec
    )
    assert decodable(one).all()
    out = np.empty((1, 1, *image.shape), dtype)
    unpack(one, out)
    np.testing.assert_array_equal(out[0, 0], image)


def test_what_lz4_cannot_compress_stands_in_the_chunk_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 65536, (64, 64), np.uint16)
    one = packed([[filtered(noise, tmp_path / "a.h5", "lz4", nbytes=1024)]], (64, 64), "u2", "lz4")
    assert decodable(one).all()
    assert one.data.size > noise.nbytes
    out = np.empty((1, 1, 64, 64), np.uint16)
    unpack(one, out)
    np.testing.assert_array_equal(out[0, 0], noise)


@given(
    st.sampled_from(["bshuf_lz4", "lz4"]),
    st.integers(0, 10_000),
    st.integers(0, 255),
    st.sampled_from(["change", "cut", "grow"]),
)
def test_what_is_called_decodable_is(codec: Any, place: int, value: int, damage: str) -> None:
    """No damage reads beyond the chunk, and nothing is refused that the decoder would take."""
    image = images((24, 25), "u2")
    chunk = bytearray(CHUNKS[codec])
    place %= len(chunk)
    if damage == "change":
        chunk[place] = value
    elif damage == "cut":
        del chunk[place:]
    else:
        chunk.append(value)
    one = packed([[bytes(chunk)]], image.shape, "u2", codec)
    out = np.empty((1, 1, *image.shape), "u2")
    if decodable(one).all():
        unpack(one, out)
    elif bytes(chunk) == CHUNKS[codec]:
        pytest.fail("a chunk without damage was refused")


@pytest.fixture(autouse=True, scope="module")
def _chunks(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("chunks") / "a.h5"
    for codec in ("bshuf_lz4", "lz4"):
        CHUNKS[codec] = filtered(images((24, 25), "u2"), path, codec)  # type: ignore[arg-type]


CHUNKS: dict[str, bytes] = {}


def test_every_damage_that_the_decoder_finds_is_found_without_decoding() -> None:
    """Against HDF5's own filter: what is taken must be what it reads.

    It takes a little more: matches at a distance of 0, which LZ4's format calls invalid.
    """
    good = CHUNKS["bshuf_lz4"]
    random = np.random.default_rng(3)
    refused = 0
    with h5py.File("damaged", "w", driver="core", backing_store=False) as file:
        for number in range(300):
            chunk = bytearray(good)
            chunk[int(random.integers(12, len(chunk)))] ^= 1 << int(random.integers(8))
            one = packed([[bytes(chunk)]], (24, 25), "u2", "bshuf_lz4")
            data = file.create_dataset(
                f"{number}", (24, 25), "u2", chunks=(24, 25), **hdf5plugin.Bitshuffle(cname="lz4")
            )
            data.id.write_direct_chunk((0, 0), bytes(chunk))
            taken = bool(decodable(one).all())
            refused += not taken
            if taken:
                out = np.empty((1, 1, 24, 25), "u2")
                unpack(one, out)
                np.testing.assert_array_equal(out[0, 0], data[()])
    assert 0 < refused < 300


def test_frames_that_cannot_be_decoded_are_absent_with_their_cause() -> None:
    pixels = images((4, 1, 16, 16), "u2")
    encode = encoder("bshuf_lz4")
    chunks = [[bytes(encode(frame[0]))] for frame in pixels]
    chunks[2][0] = chunks[2][0][:-1]
    frames = Frames.of(np.empty((0, 1, 16, 16), "u2"))
    block = Frames.of(pixels, 10)
    frames = Frames(
        frames.pixels, block.numbers, block.timestamps, block.status, (10, 14),
        packed=packed(chunks, (16, 16), "u2", "bshuf_lz4"),
    )  # fmt: skip
    left = sound(frames)
    assert left.numbers.tolist() == [10, 11, 13]
    assert left.causes == {12: "decode_error"}
    assert left.span == (10, 14)
    np.testing.assert_array_equal(unpacked(left).pixels, pixels[[0, 1, 3]])


def test_raw_chunks_of_another_size_are_refused() -> None:
    one = packed([[bytes(2 * 4 * 4)], [bytes(2 * 4 * 4 - 1)]], (4, 4), "u2", "none")
    assert decodable(one).tolist() == [True, False]
