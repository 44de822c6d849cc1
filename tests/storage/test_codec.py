"""Chunks made in memory are those that HDF5 would have made, or decode to the same pixels."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import image, seeds, shapes

from limadask.storage import Compression, dataset_options, encoder

CODECS = get_args(Compression)
TYPES = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "f4", "f8")


@contextmanager
def in_memory() -> Iterator[h5py.File]:
    with h5py.File("nowhere.h5", "w", driver="core", backing_store=False) as file:
        yield file


def read_back(codec: Any, frame: Any, chunk: Any) -> Any:
    with in_memory() as file:
        data = file.create_dataset(
            "data",
            (1, *frame.shape),
            frame.dtype,
            chunks=(1, *frame.shape),
            **dataset_options(codec),
        )
        data.id.write_direct_chunk((0, 0, 0), chunk)
        assert data.chunks == (1, *frame.shape)
        return data[0]


@given(codec=st.sampled_from(CODECS), dtype=st.sampled_from(TYPES), shape=shapes(1, 40), seed=seeds)
def test_hdf5_reads_back_what_was_encoded(
    codec: Any, dtype: str, shape: tuple[int, int], seed: int
) -> None:
    frame = image(seed, shape, dtype)
    before = frame.copy()
    np.testing.assert_array_equal(read_back(codec, frame, encoder(codec)(frame)), before)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("shape", [(514, 1030), (1, 100_003), (257, 256)], ids=str)
def test_frames_of_many_blocks_and_odd_ends_survive(codec: Any, shape: tuple[int, int]) -> None:
    frame = np.random.default_rng(1).poisson(0.3, shape).astype("u2")
    chunk = encoder(codec)(frame)
    np.testing.assert_array_equal(read_back(codec, frame, chunk), frame)
    assert codec == "none" or len(chunk) < frame.nbytes / 3


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("way", ["flipped", "turned", "cut"])
def test_frames_that_are_views_are_encoded_as_they_look(codec: Any, way: str) -> None:
    whole = image(3, (12, 10), "u2")
    view = {"flipped": whole[::-1, ::-1], "turned": whole.T, "cut": whole[2:9, 3:8]}[way]
    np.testing.assert_array_equal(read_back(codec, view, encoder(codec)(view)), view)


@given(dtype=st.sampled_from(TYPES), shape=shapes(1, 60), seed=seeds)
def test_bshuf_lz4_is_byte_for_byte_what_the_filter_writes(
    dtype: str, shape: tuple[int, int], seed: int
) -> None:
    frame = image(seed, shape, dtype, top=None if dtype.startswith("f") else 7)
    with in_memory() as file:
        data = file.create_dataset(
            "data", (1, *shape), dtype, chunks=(1, *shape), **hdf5plugin.Bitshuffle(cname="lz4")
        )
        data[0] = frame
        file.flush()
        mask, chunk = data.id.read_direct_chunk((0, 0, 0))
    assert mask == 0
    assert bytes(encoder("bshuf_lz4")(frame)) == chunk


def test_several_threads_encode_at_the_same_time() -> None:
    frames = [image(seed, (40 + 7 * seed, 50), "u2", top=50) for seed in range(4)]
    encode = encoder("bshuf_lz4")
    expected = [bytes(encode(frame)) for frame in frames]
    wrong: list[int] = []

    def work(number: int) -> None:
        made = (bytes(encode(frames[number])) for _ in range(100))
        wrong.extend(number for one in made if one != expected[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.parametrize("codec", CODECS)
def test_a_chunk_does_not_change_when_the_next_frame_is_encoded(codec: Any) -> None:
    encode = encoder(codec)
    frame = image(1, (30, 30), "u2", top=9)
    chunk = encode(frame)
    kept = bytes(chunk)
    frame[...] = 77
    encode(image(2, (30, 30), "u2"))
    assert bytes(chunk) == kept
