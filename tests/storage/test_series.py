"""The files of one writing worker."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from strategies import block

from limadask.errors import SaveError
from limadask.frames import Frames, Spec
from limadask.geometry import Grid
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder, next_number, series_files

DATA = "entry/instrument/detector/data"
SPEC = Spec(Grid((6, 7)), np.dtype("u2"))


def chunks(frames: Frames, codec: Any = "bshuf_lz4") -> Chunks:
    encode = encoder(codec)
    data = [encode(image) for frame in frames.pixels for image in frame]
    return Chunks(frames.numbers, frames.timestamps, frames.status, data)


def series(folder: Path, spec: Spec = SPEC, per_file: int = 5, **more: Any) -> FileSeries:
    return FileSeries(folder, "run", 0, [FrameLayout(spec, "bshuf_lz4", **more)], per_file)


def content(path: str | Path) -> tuple[list[int], list[int], Any]:
    with h5py.File(path) as file:
        group = file["entry/instrument/detector"]
        assert group["status"][()].tolist() == [1] * len(group["data"])
        return (
            group["frame_number"][()].tolist(),
            group["timestamp"][()].tolist(),
            group["data"][()],
        )


def test_a_file_is_followed_by_the_next_when_it_is_full(tmp_path: Path) -> None:
    files = series(tmp_path, per_file=5)
    frames = block(1, SPEC, 13, first=100)
    files.append([chunks(frames[:4])])
    files.append([chunks(frames[4:6]), chunks(frames[6:13])])
    files.close()
    names = [Path(path).name for path in files.paths]
    assert names == ["run_0_00000.h5", "run_0_00001.h5", "run_0_00002.h5"]
    start = 0
    for path, count in zip(files.paths, (5, 5, 3), strict=True):
        numbers, stamps, pixels = content(path)
        part = slice(start, start + count)
        assert numbers == frames.numbers[part].tolist()
        assert stamps == frames.timestamps[part].tolist()
        np.testing.assert_array_equal(pixels, frames.pixels[part, 0])
        start += count


@pytest.mark.parametrize("bands", [("0",), ("a", "b", "c")], ids=len)
@pytest.mark.parametrize("always_4d", [False, True])
def test_bands_have_an_axis_where_there_are_several_or_it_is_asked_for(
    bands: tuple[str, ...], always_4d: bool, tmp_path: Path
) -> None:
    spec = Spec(Grid((6, 7)), np.dtype("i4"), bands)
    frames = block(2, spec, 4)
    files = series(tmp_path, spec, always_4d=always_4d)
    files.append([chunks(frames)])
    files.close()
    flat = len(bands) == 1 and not always_4d
    with h5py.File(files.paths[0]) as file:
        data = file[DATA]
        assert data.chunks == ((1, 6, 7) if flat else (1, 1, 6, 7))
        np.testing.assert_array_equal(data[()], frames.pixels[:, 0] if flat else frames.pixels)


def test_each_file_can_be_read_by_itself(tmp_path: Path) -> None:
    files = series(tmp_path, SPEC.replace(nb_merged=4))
    files.append([chunks(block(1, SPEC, 2))])
    files.close()
    with h5py.File(files.paths[0]) as file:
        assert file.attrs["default"] == "entry"
        entry = file["entry"]
        group = entry[entry.attrs["default"]]
        assert group.attrs["NX_class"] == "NXdata"
        assert group[group.attrs["signal"]].shape == (2, 6, 7)
        assert group[group.attrs["signal"]] == file[DATA]
        assert file["entry/instrument/detector"].attrs["nb_merged"] == 4
        assert file[DATA].fillvalue == 65535


def test_several_threads_append_whole_blocks(tmp_path: Path) -> None:
    files = series(tmp_path, per_file=50)
    blocks = [block(seed, SPEC, 7, first=7 * seed) for seed in range(24)]

    def work(part: list[Frames]) -> None:
        for one in part:
            files.append([chunks(one)])

    threads = [threading.Thread(target=work, args=(blocks[n::4],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    files.close()
    seen: dict[int, Any] = {}
    for path in files.paths:
        numbers, stamps, pixels = content(path)
        assert len(numbers) <= 50
        assert stamps == [number * 1000 + 7 for number in numbers]
        seen |= dict(zip(numbers, pixels, strict=True))
    assert sorted(seen) == list(range(24 * 7))
    for one in blocks:
        for number, frame in zip(one.numbers.tolist(), one.pixels, strict=True):
            np.testing.assert_array_equal(seen[number], frame[0])


READER = """
import sys, h5py, hdf5plugin
with h5py.File(sys.argv[1], "r", libver="latest", swmr=True) as file:
    group = file["entry/instrument/detector"]
    for _ in sys.stdin:
        for one in group.values():
            one.refresh()
        count = len(group["frame_number"])
        last, total = int(group["frame_number"][-1]), int(group["data"][count - 1].sum())
        print(count, last, total, flush=True)
"""


def test_another_process_sees_frames_as_soon_as_they_are_appended(tmp_path: Path) -> None:
    files = series(tmp_path, per_file=100)
    frames = block(1, SPEC, 9)
    files.append([chunks(frames[:3])])
    command = [sys.executable, "-c", READER, files.paths[0]]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for start, stop in ((0, 3), (3, 4), (4, 9)):
            if start:  # the reader opened it with three frames in it
                files.append([chunks(frames[start:stop])])
            reader.stdin.write("look\n")
            reader.stdin.flush()
            count, number, total = map(int, reader.stdout.readline().split())
            assert (count, number) == (stop, stop - 1)
            assert total == frames.pixels[stop - 1].sum()
        reader.stdin.close()
        assert reader.wait(30) == 0
    files.close()


def test_closing_twice_is_closing_once_and_what_comes_late_is_refused(tmp_path: Path) -> None:
    files = series(tmp_path)
    files.append([chunks(block(1, SPEC, 2))])
    files.close()
    files.close()
    with pytest.raises(SaveError, match="closed") as late:  # no master would know of its file
        files.append([chunks(block(1, SPEC, 1, first=2))])
    assert late.value.numbers == (2,)
    assert [content(path)[0] for path in files.paths] == [[0, 1]]


def test_a_file_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "run_0_00000.h5").write_bytes(b"precious")
    with pytest.raises(OSError, match="exists"):
        series(tmp_path)
    assert (tmp_path / "run_0_00000.h5").read_bytes() == b"precious"


def test_files_are_found_by_rank_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    names = ["run_0_00002.h5", "run_0_00010.h5", "run_11_00000.h5", "run_0_100000.h5"]
    others = [
        "run_master.h5",
        "run_0_0001.h5",
        "xrun_0_00001.h5",
        "run_0_00001.h5.tmp",
        "run_00001.h5",
    ]
    for name in names + others:
        (tmp_path / name).touch()
    found = series_files(tmp_path, "run")
    assert {rank: [path.name for path in paths] for rank, paths in found.items()} == {
        0: ["run_0_00002.h5", "run_0_00010.h5", "run_0_100000.h5"],
        11: ["run_11_00000.h5"],
    }
    assert next_number(tmp_path, "run", 0) == 100001
    assert next_number(tmp_path, "run", 11) == 1
    assert next_number(tmp_path, "run", 5) == 0
    assert series_files(tmp_path / "nowhere", "run") == {}
    assert series_files(tmp_path, "r.n") == {}
