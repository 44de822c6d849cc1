"""Frames that come compressed: saved as they are, decoded where pixels are needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from distributed import Client

import limadask as ld
from limadask.storage import encoder
from limadask_detectors import Simulator
from limadask_tasks import Accumulate, Crop, Flip, MinIntensity, Observe, RoiStatistics, SaveHdf5

SHAPE = (68, 48)


def camera(**fields: Any) -> Simulator:
    known: dict[str, Any] = {"shape": SHAPE, "bands": ["a", "b"], "compression": "bshuf_lz4"}
    return Simulator(**{**known, **fields})


def run(
    client: Client, camera: Simulator, pipe: ld.Pipeline, nb_frames: int = 60, **fields: Any
) -> ld.Acquisition:
    acquisition = ld.Acquisition(client, camera, pipe, nb_frames=nb_frames, **fields)
    with acquisition:
        acquisition.prepare()
        acquisition.start()
        acquisition.wait(timeout=60)
    return acquisition


def chunks_of(folder: Path, prefix: str) -> dict[int, list[bytes]]:
    """Return the chunks in the data files, one for each band, by frame number."""
    found = {}
    for path in sorted(folder.glob(f"{prefix}_[0-9]*.h5")):
        with h5py.File(path) as file:
            data = file["entry/instrument/detector/data"]
            for slot, number in enumerate(file["entry/instrument/detector/frame_number"][()]):
                found[int(number)] = [
                    bytes(data.id.read_direct_chunk((slot, band, 0, 0))[1]) for band in range(2)
                ]
    return found


@pytest.mark.parametrize("topology", [
    {}, {"roles": "separate"}, {"receivers": 2, "workers": 2, "dispatch": "dynamic"},
    {"receivers": 2, "workers": 2, "dispatch": "round_robin"},
], ids=str)  # fmt: skip
def test_the_detectors_own_chunks_are_saved_and_pixels_decoded_in_the_same_run(
    client: Client, tmp_path: Path, topology: dict[str, Any]
) -> None:
    pipe = ld.Pipeline()
    pipe.add("raw", SaveHdf5(folder=str(tmp_path), prefix="raw"))
    pipe.add("stats", RoiStatistics(rois=[ld.Rect(2, 3, 30, 20)]))
    pipe.add("flip", Flip(axis="y"))
    pipe.add("flipped", SaveHdf5(folder=str(tmp_path), prefix="flipped"), after="flip")
    source = camera()
    done = run(client, source, pipe, topology=ld.Topology(**topology))
    assert done.record().counts()["present"] == 60
    encode, chunks = encoder("bshuf_lz4"), chunks_of(tmp_path, "raw")
    assert sorted(chunks) == list(range(60))
    for number, bands in chunks.items():
        assert bands == [bytes(encode(band)) for band in source.frame(number).values]
    sums = done.data["stats"]["sum"].transpose("frame", "band", "roi").values
    with h5py.File(done.files["raw"]) as raw, h5py.File(done.files["flipped"]) as flipped:
        pixels = raw["entry/data/images"][()]
        np.testing.assert_array_equal(flipped["entry/data/images"][()], pixels[:, :, ::-1])
    for number in (0, 17, 59):
        np.testing.assert_array_equal(pixels[number], source.frame(number).values)
    np.testing.assert_array_equal(
        sums[..., 0], pixels[:, :, 2:32, 3:23].sum((2, 3), dtype=np.float64)
    )


def test_a_saver_with_another_compression_encodes_anew(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), compression="zip"))
    source = camera()
    done = run(client, source, pipe, 10)
    with h5py.File(done.files["file"]) as tree:
        np.testing.assert_array_equal(tree["entry/data/images"][9], source.frame(9).values)


def test_what_is_done_in_front_of_input_is_done_to_pixels(client: Client, tmp_path: Path) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    source = camera(hardware_roi=False)
    done = run(client, source, pipe, 10, roi=ld.Rect(3, 5, 20, 30))
    with h5py.File(done.files["file"]) as tree:
        saved = tree["entry/data/images"][7]
    np.testing.assert_array_equal(saved, source.frame(7).values[:, 3:23, 5:35])


@pytest.mark.parametrize("vetoed", ["skip", "keep"])
def test_a_saver_after_a_veto_writes_the_chunks_of_frames_that_are_kept(
    client: Client, tmp_path: Path, vetoed: Any
) -> None:
    source = camera(growth=0.01, photons=0.05)
    sums = [int(source.frame(number).values[0].astype(np.int64).sum()) for number in range(40)]
    pipe = ld.Pipeline()
    level = float(np.median(sums))
    whole = ld.Rect(0, 0, *SHAPE)
    pipe.add("bright", MinIntensity(minimum=level, band="a", roi=whole, statistic="sum"))
    pipe.add("file", SaveHdf5(folder=str(tmp_path), vetoed=vetoed), after="bright")
    run(client, source, pipe, 40)
    encode, chunks = encoder("bshuf_lz4"), chunks_of(tmp_path, "limadask")
    assert chunks
    assert len(chunks) == 40 if vetoed == "keep" else len(chunks) < 40
    for number, bands in chunks.items():
        assert bands == [bytes(encode(band)) for band in source.frame(number).values]


def test_corrupt_frames_are_absent_with_their_cause_and_not_saved(
    client: Client, tmp_path: Path
) -> None:
    pipe = ld.Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path)))
    done = run(client, camera(faults={"corrupt": [3, 30, 59]}), pipe)
    absent = {
        one.first: one.cause for one in done.record().runs() if one.status == ld.Status.ABSENT
    }
    assert absent == {3: "decode_error", 30: "decode_error", 59: "decode_error"}
    assert sorted(chunks_of(tmp_path, "limadask")) == sorted(set(range(60)) - {3, 30, 59})


def test_sums_and_deferred_frames_are_decoded(client: Client, tmp_path: Path) -> None:
    source = camera(faults={"corrupt": [5]})
    pipe = ld.Pipeline()
    pipe.add("sum", Accumulate(nb_frames=4))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="sum")
    done = run(client, source, pipe, 12)
    expected = sum(source.frame(number).values.astype(np.int64) for number in (4, 6, 7))
    with h5py.File(done.files["file"]) as tree:
        sums = tree["entry/data/images"][()]
    assert len(sums) == 3
    masked = source.gaps()
    np.testing.assert_array_equal(sums[1][:, ~masked], expected[:, ~masked])


def test_parts_that_are_put_together_are_decoded_before(client: Client, tmp_path: Path) -> None:
    from limadask_tasks import Assemble

    source = camera(modules=2, gap=4)
    pipe = ld.Pipeline()
    pipe.add("whole", Assemble())
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="whole")
    topology = ld.Topology(receivers=2, workers=2, dispatch="partial")
    done = run(client, source, pipe, 12, topology=topology)
    assert done.record().counts()["present"] == 12
    with h5py.File(done.files["file"]) as tree:
        np.testing.assert_array_equal(tree["entry/data/images"][7], source.frame(7).values)


def test_packed_blocks_are_held_on_disk_until_they_are_processed(
    client: Client, tmp_path: Path
) -> None:
    source = camera()
    pipe = ld.Pipeline()
    pipe.add("crop", Crop(y=0, x=0, height=10, width=10))
    pipe.add("file", SaveHdf5(folder=str(tmp_path)), after="crop")
    size = source.info().shape[0] * source.info().shape[1] * 4
    acquisition = ld.Acquisition(
        client, source, pipe, nb_frames=400,
        buffers=ld.Buffers(nbytes=8 * size, nb_frames_per_block=2),
    )  # fmt: skip
    with ld.Batch(client, "deferred") as batch:
        batch.add(acquisition)
        batch.start()
        acquisition.wait("acquired", timeout=60)
        batch.process()
        batch.wait(timeout=60)
    assert acquisition.record().counts()["present"] == 400
    with h5py.File(acquisition.files["file"]) as tree:
        saved = tree["entry/data/images"][399]
    np.testing.assert_array_equal(saved, source.frame(399).values[:, :10, :10])


def test_observed_frames_are_decoded_when_somebody_looks(client: Client) -> None:
    source = camera()
    pipe = ld.Pipeline()
    pipe.add("live", Observe(history=4, every=10))
    done = run(client, source, pipe, 60)
    latest, recent = done.observe["live"].latest(), done.observe["live"].history()
    assert recent["frame"].values.tolist() == [20, 30, 40, 50]
    np.testing.assert_array_equal(latest, source.frame(50).values)
    np.testing.assert_array_equal(recent.isel(frame=1), source.frame(30).values)
