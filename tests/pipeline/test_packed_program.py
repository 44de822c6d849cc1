"""Compressed frames in a program: who decodes, and what becomes of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import limadask as ld
from limadask.frames import Frames, Packed, Spec, Status
from limadask.geometry import Grid
from limadask.parameters import Policy
from limadask.pipeline.plan import plan
from limadask.pipeline.program import Program
from limadask.storage import decodable, encoder, unpack
from limadask_tasks import Crop, RoiStatistics, SaveHdf5

SHAPE, COUNT = (64, 48), 12
SPEC = Spec(Grid(SHAPE), np.dtype("u2"), ("a", "b"), nb_frames=COUNT)
PIXELS = np.random.default_rng(0).poisson(0.5, (COUNT, 2, *SHAPE)).astype("u2")


def packed(chunks: list[list[bytes]]) -> Packed:
    sizes = np.array([[len(one) for one in bands] for bands in chunks], np.int64)
    offsets = (np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape)
    data = np.frombuffer(b"".join(one for bands in chunks for one in bands), np.uint8)
    return Packed(data, offsets, sizes, "bshuf_lz4", SHAPE, np.dtype("u2"))


def block(corrupt: dict[int, bytes]) -> Frames:
    """Return all frames packed, some with another chunk in the second band."""
    encode, plain = encoder("bshuf_lz4"), Frames.of(PIXELS)
    chunks = [[bytes(encode(band)) for band in frame] for frame in PIXELS]
    for number, chunk in corrupt.items():
        chunks[number][1] = chunk
    return Frames(
        PIXELS[:0], plain.numbers, plain.timestamps, plain.status, (0, COUNT),
        packed=packed(chunks),
    )  # fmt: skip


def damaged(deeply: bool) -> bytes:
    """Return a chunk that cannot be decoded, as its blocks' sizes tell, or only deeply."""
    good = bytes(encoder("bshuf_lz4")(PIXELS[3, 1]))
    if not deeply:
        return good[:-1]
    for place in range(16, len(good)):
        chunk = bytearray(good)
        chunk[place] = 255
        one = packed([[bytes(chunk)]])
        if decodable(one, deeply=False).all() and not decodable(one).all():
            with pytest.raises(ValueError, match="failed"):
                unpack(one, np.empty((1, 1, *SHAPE), "u2"))
            return bytes(chunk)
    raise AssertionError("no damage was found that only decoding tells")


@pytest.mark.parametrize("deeply", [False, True], ids=["sizes", "contents"])
@pytest.mark.parametrize("decoding", [False, True], ids=["saved as they are", "decoded"])
def test_a_corrupt_frame_is_absent_whoever_finds_it(
    tmp_path: Path, decoding: bool, deeply: bool
) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    if decoding:
        pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
        pipe.add("crop", Crop(y=0, x=0, height=4, width=4))
        pipe.add("cropped", SaveHdf5(folder=str(tmp_path), prefix="cropped"), after="crop")
    program = Program(plan(pipe, SPEC), Policy())
    outcome = program.run(block({3: damaged(deeply), 11: damaged(deeply)}))
    program.close()
    fates = dict(zip(outcome.numbers.tolist(), outcome.status().tolist(), strict=True))
    lost = [number for number, fate in fates.items() if fate == Status.ABSENT]
    causes = {**{number: outcome.cause(number) for number in lost}, **dict(outcome.missing())}
    assert causes == {3: "decode_error", 11: "decode_error"}
    good = [number for number in range(COUNT) if number not in causes]
    assert outcome.failures == []
    with h5py.File(tmp_path / "limadask_0_00000.h5") as file:
        assert file["entry/instrument/detector/frame_number"][()].tolist() == good
        np.testing.assert_array_equal(file["entry/instrument/detector/data"], PIXELS[good])
    if decoding:
        numbers, _ = outcome.products["stats"]
        assert numbers.tolist() == good
        with h5py.File(tmp_path / "cropped_0_00000.h5") as file:
            saved = file["entry/instrument/detector/data"][()]
        np.testing.assert_array_equal(saved, PIXELS[good][:, :, :4, :4])


def test_a_walk_through_the_nodes_leaves_corrupt_frames_out(tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(0, 0, 8, 8)]))
    program = Program(plan(pipe, SPEC), Policy())
    walk = program.walk(block({5: damaged(deeply=True)}))
    for name in ("file", "stats"):
        walk.step(name)
    outcome = walk.finish()
    program.close()
    assert outcome.missing() == [(5, "decode_error")]
    assert 5 not in outcome.products["stats"][0]
    with h5py.File(tmp_path / "limadask_0_00000.h5") as file:
        assert len(file["entry/instrument/detector/frame_number"]) == COUNT - 1
