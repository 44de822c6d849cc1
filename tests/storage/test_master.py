"""The master file over all data files of a run."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from harness import DETECTOR, record
from strategies import image

from limadask.frames import Spec, Status
from limadask.geometry import Grid
from limadask.ledger import Ledger
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder, write_master

SPEC = Spec(Grid((20, 30)).crop(2, 4, 6, 7), np.dtype("u2"))


@dataclass
class Saved:
    """Data files of some ranks, and what is in them."""

    files: list[str]
    pixels: dict[int, Any]
    ledger: Ledger

    def master(self, path: Path, spec: Spec, nb_frames: int, **more: Any) -> str:
        changes = {name: more.pop(name) for name in ("state", "error", "uuid") if name in more}
        self.ledger.finish("detector", nb_frames)
        run = record(self.ledger, nb_frames * spec.nb_merged, **changes)
        return write_master(path, "file", spec, self.files, run, **more)


def save(
    folder: Path, spec: Spec, *ranks: Sequence[Sequence[int]], per_file: int = 4, prefix: str = "r"
) -> Saved:
    """Save blocks of frame numbers, a list of them for each rank; pixels are random."""
    saved = Saved([], {}, Ledger())
    flat = len(spec.bands) == 1
    for rank, blocks in enumerate(ranks):
        series = FileSeries(folder, prefix, rank, [FrameLayout(spec, "bshuf_lz4")], per_file)
        encode = encoder("bshuf_lz4")
        for numbers in blocks:
            frames = [
                image(number + 1000 * rank, spec.frame_shape, "u2", 5000) for number in numbers
            ]
            data = [encode(band) for frame in frames for band in frame]
            stamps = np.array(numbers) * 1000 + 5
            series.append([Chunks(np.array(numbers), stamps, np.ones(len(numbers), "u1"), data)])
            for number, frame in zip(numbers, frames, strict=True):
                saved.pixels.setdefault(number, frame[0] if flat else frame)
                saved.ledger.mark(number, number + 1, Status.PRESENT)
        series.close()
        saved.files += series.paths
    return saved


NEVER = np.iinfo(np.int64).min  # not-a-time to NumPy and xarray


def check(data: Any, saved: Saved, nb_frames: int) -> None:
    """Every saved frame is there, and every other one is the fill value."""
    assert len(data) == nb_frames
    for number, frame in enumerate(data[()]):
        if number in saved.pixels:
            np.testing.assert_array_equal(frame, saved.pixels[number])
        else:
            assert (frame == 65535).all()


LAYOUTS: dict[str, list[list[list[int]]]] = {
    "in order": [[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]],
    "a gap in front": [[[3, 4, 5], [6, 7, 8, 9]]],
    "a gap in the middle": [[[0, 1, 2], [7, 8, 9]]],
    "a gap at the end": [[[0, 1, 2], [3, 4]]],
    "holes everywhere": [[[1], [3, 5], [8]]],
    "blocks out of order": [[[6, 7, 8], [0, 1, 2], [9], [3, 4, 5]]],
    "two ranks in turns": [[[0, 1], [4, 5], [8, 9]], [[2, 3], [6, 7]]],
    "two ranks with a frame twice": [[[0, 1, 2], [3, 4]], [[3, 4, 5], [6, 7, 8, 9], [0]]],
    "one rank without frames": [[], [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]],
    "nothing at all": [[]],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bands", [("0",), ("4 keV", "8 keV")], ids=len)
def test_the_master_shows_every_frame_in_its_place(
    layout: str, bands: tuple[str, ...], tmp_path: Path
) -> None:
    spec = SPEC.replace(bands=bands)
    saved = save(tmp_path, spec, *LAYOUTS[layout])
    path = tmp_path / "r_master.h5"
    assert saved.master(path, spec, 10, uuid="1234") == "entry"
    with h5py.File(path) as file:
        entry = file["entry"]
        group = entry[entry.attrs["default"]]
        check(group[group.attrs["signal"]], saved, 10)
        check(entry["instrument/detector/data"], saved, 10)
        present = [number in saved.pixels for number in range(10)]
        status = [Status.PRESENT if one else Status.ABSENT for one in present]
        assert group["frame_status"][()].tolist() == status
        causes = [b"" if one else b"detector" for one in present]
        assert group["frame_cause"][()].tolist() == causes
        stamps = [number * 1000 + 5 if one else NEVER for number, one in enumerate(present)]
        assert group["timestamp"][()].tolist() == stamps
        assert entry["title"][()].decode().endswith("1234")
    assert sorted(one.name for one in tmp_path.glob(".*")) == []  # no temporary file is left


def test_one_band_is_three_dimensional(tmp_path: Path) -> None:
    saved = save(tmp_path, SPEC, [[0, 1, 2]])
    saved.master(tmp_path / "m.h5", SPEC, 3)
    with h5py.File(tmp_path / "m.h5") as file:
        data = file["entry/data"]
        assert data.attrs["signal"] == "data"
        assert data.attrs["axes"].tolist() == ["frame", "y", "x"]
        assert data["data"].shape == (3, 6, 7)
        assert "images" not in data


def test_several_bands_are_four_dimensional_and_each_has_a_plot_of_its_own(tmp_path: Path) -> None:
    spec = SPEC.replace(bands=("4 keV", "8 keV"))
    saved = save(tmp_path, spec, [[0, 1, 3]])
    saved.master(tmp_path / "m.h5", spec, 4)
    with h5py.File(tmp_path / "m.h5") as file:
        data = file["entry/data"]
        assert data.attrs["signal"] == "images"
        assert data.attrs["axes"].tolist() == ["frame", "band", "y", "x"]
        assert data["images"].shape == (4, 2, 6, 7)
        assert data["band"].asstr()[()].tolist() == ["4 keV", "8 keV"]
        for band, name in enumerate(("data_4_keV", "data_8_keV")):
            one = file["entry"][name]
            assert one.attrs["title"] == spec.bands[band]
            assert one["data"].shape == (4, 6, 7)
            np.testing.assert_array_equal(one["data"][3], saved.pixels[3][band])
            assert (one["data"][2] == 65535).all()


def test_bands_of_similar_names_have_plots_of_their_own(tmp_path: Path) -> None:
    spec = SPEC.replace(bands=("4 keV", "4-keV"))
    saved = save(tmp_path, spec, [[0]])
    saved.master(tmp_path / "m.h5", spec, 1)
    with h5py.File(tmp_path / "m.h5") as file:
        plots = [one for name, one in file["entry"].items() if name.startswith("data_")]
        shown = {one.attrs["title"]: one["data"][0] for one in plots}
    assert list(shown) == list(spec.bands)
    for band, name in enumerate(spec.bands):
        np.testing.assert_array_equal(shown[name], saved.pixels[0][band])


def test_one_band_keeps_its_axis_where_four_dimensions_are_asked_for(tmp_path: Path) -> None:
    series = FileSeries(tmp_path, "r", 0, [FrameLayout(SPEC, "none", always_4d=True)], 10)
    frame = image(1, (6, 7), "u2")
    chunk = encoder("none")(frame)
    series.append([Chunks(np.array([1]), np.array([5]), np.ones(1, "u1"), [chunk])])
    series.close()
    ledger = Ledger(2)
    ledger.mark(1, 2, Status.PRESENT)
    ledger.finish("overrun")
    write_master(tmp_path / "m.h5", "file", SPEC, series.paths, record(ledger, 2), always_4d=True)
    with h5py.File(tmp_path / "m.h5") as file:
        data = file["entry/data"]
        assert data[data.attrs["signal"]].shape == (2, 1, 6, 7)
        np.testing.assert_array_equal(data["images"][1, 0], frame)
        np.testing.assert_array_equal(data["data"][1], frame)
        assert data["frame_cause"][0] == b"overrun"


def test_each_run_has_an_entry_and_replaces_only_its_own(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    first, second = save(tmp_path, SPEC, [[0, 1]]), save(tmp_path, SPEC, [[0, 2]], prefix="s")
    assert first.master(path, SPEC, 2) == "entry"
    assert second.master(path, SPEC, 3, uuid="second") == "entry_2"
    with h5py.File(path) as file:
        assert file.attrs["default"] == "entry_2"
        check(file["entry/data/data"], first, 2)
        check(file["entry_2/data/data"], second, 3)
    assert second.master(path, SPEC, 4, uuid="second") == "entry_2"  # another worker, once more
    with h5py.File(path) as file:
        assert list(file) == ["entry", "entry_2"]
        check(file["entry/data/data"], first, 2)
        check(file["entry_2/data/data"], second, 4)


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_master_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.h5"
    saved = save(tmp_path, SPEC, [[0, 1]])
    saved.master(path, SPEC, 2)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        saved.master(path, SPEC, 2)
    assert path.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_floats_have_nan_where_frames_are_absent(tmp_path: Path) -> None:
    spec = SPEC.replace(dtype=np.dtype("f4"))
    series = FileSeries(tmp_path, "r", 0, [FrameLayout(spec, "zip")], 10)
    series.close()
    ledger = Ledger(2)
    ledger.finish("timeout")
    write_master(tmp_path / "m.h5", "file", spec, series.paths, record(ledger, 2))
    with h5py.File(tmp_path / "m.h5") as file:
        assert np.isnan(file["entry/data/data"][()]).all()
        assert file["entry/data/frame_cause"][()].tolist() == [b"timeout"] * 2


def test_the_detector_is_described_with_units(tmp_path: Path) -> None:
    saved = save(tmp_path, SPEC, [[0]])
    saved.master(tmp_path / "m.h5", SPEC, 1)
    with h5py.File(tmp_path / "m.h5") as file:
        detector = file["entry/instrument/detector"]
        assert detector["distance"][()] == DETECTOR["distance"]
        assert detector["distance"].attrs["units"] == "m"
        assert detector["y_pixel_size"][()] == 75e-6
        assert detector["x_pixel_size"][()] == 80e-6
        assert detector["count_time"][()] == 0.25
        assert detector["frame_time"][()] == pytest.approx(0.3)
        matrix = detector["image_transform/matrix"][()]
        np.testing.assert_array_equal(matrix, [[1, 0, 2], [0, 1, 4], [0, 0, 1]])
        assert (detector["beam_center_y"][()], detector["beam_center_x"][()]) == (8, 11)
        energy = file["entry/instrument/beam/incident_energy"]
        assert energy[()] == pytest.approx(12.398419843320026)
        assert file["entry/sample/name"].asstr()[()] == "LaB6"
        assert file["entry/start_time"].asstr()[()] == "2023-11-14T22:13:20.000000Z"
        assert file["entry/end_time"].asstr()[()] == "2023-11-14T22:13:21.500000Z"


def test_runs_that_end_together_all_find_their_place(tmp_path: Path) -> None:
    saved = [save(tmp_path, SPEC, [[0, 1, 2]], prefix=f"r{one}") for one in range(8)]
    master = tmp_path / "r_master.h5"
    both = threading.Barrier(len(saved))

    def write(one: Saved) -> str:
        both.wait(timeout=10)
        return one.master(master, SPEC, 3)

    with ThreadPoolExecutor(len(saved)) as pool:
        names = list(pool.map(write, saved))
    assert sorted(names) == sorted(["entry", *(f"entry_{one}" for one in range(2, 9))])
    with h5py.File(master) as file:
        assert set(file) == set(names)


def test_another_process_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = save(tmp_path, SPEC, [[0]])
    program = (
        "import sys, pathlib\n"
        "from limadask.storage.alone import alone\n"
        "with alone(pathlib.Path(sys.argv[1])):\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        monkeypatch.setattr("limadask.storage.alone.PATIENCE", 0.1)
        with pytest.raises(TimeoutError, match="others have been writing"):
            saved.master(tmp_path / "m.h5", SPEC, 1)
        other.kill()  # the lock goes with it
        other.wait(timeout=10)
    assert saved.master(tmp_path / "m.h5", SPEC, 1) == "entry"
