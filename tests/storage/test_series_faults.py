"""A series of files on a disk that fails: what was acknowledged stays, and nothing breaks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from disk import on_small_disk
from strategies import block

from limadask.errors import SaveError
from limadask.frames import Frames, Spec, Status
from limadask.geometry import Grid
from limadask.parameters import Policy
from limadask.pipeline import Pipeline
from limadask.pipeline.plan import plan
from limadask.pipeline.program import Program
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder, read_contents, recover
from limadask.storage.abandoning import plain_error
from limadask.storage.data_file import DataFile
from limadask_tasks import SaveHdf5

SCENARIO = Path(__file__).with_name("series_scenario.py")
SPEC = Spec(Grid((6, 7)), np.dtype("u2"))
FULL = OSError(28, "No space left on device")


def chunks(frames: Frames) -> Chunks:
    encode = encoder("none")
    data = [encode(image) for frame in frames.pixels for image in frame]
    return Chunks(frames.numbers, frames.timestamps, frames.status, data)


def series(folder: Path, per_file: int = 5) -> FileSeries:
    return FileSeries(folder, "run", 0, [FrameLayout(SPEC, "none")], per_file)


def numbers(folder: Path) -> dict[str, list[int]]:
    found = {}
    for path in sorted(folder.iterdir()):
        with h5py.File(path, "r") as file:
            found[path.name] = file["entry/instrument/detector/frame_number"][()].tolist()
    return found


class Fault:
    """Lets the n-th call of a method of data files raise, before or after it is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, call: int, after: bool) -> None:
        self._left, self._after, self._real = call, after, getattr(DataFile, name)
        monkeypatch.setattr(DataFile, name, lambda *given: self(*given))

    def __call__(self, *given: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise RuntimeError("HDF5 says: errno = 28, error message = 'No space left on device'")
        result = self._real(*given)
        if self._left == 0:
            raise RuntimeError("HDF5 says: errno = 28, error message = 'No space left on device'")
        return result


@pytest.mark.parametrize(("codec", "step"), [("none", "3"), ("bshuf_lz4", "2")])
def test_every_way_in_which_a_disk_can_get_full(tmp_path: Path, codec: str, step: str) -> None:
    told = on_small_disk(SCENARIO, tmp_path / "disk", codec, step, size="512k")
    assert told["wrong"] == []
    assert set(told["kinds"]) == {"begin", "append", "none"}
    assert all("No space left on device" in text for text in told["texts"])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("method", "call"), [("append", 2), ("append", 3), ("flush", 2), ("close", 1), ("_open", 1)]
)
def test_what_is_told_to_be_lost_is_what_is_not_in_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int, after: bool
) -> None:
    files = series(tmp_path)
    frames = block(1, SPEC, 22)
    files.append([chunks(frames[:3])])
    Fault(monkeypatch, method, call, after)
    lost: set[int] = set()
    texts: list[str] = []
    for start in (3, 13):  # the first makes two new files
        try:
            files.append([chunks(frames[start : start + 9])])
        except SaveError as error:
            lost |= set(error.numbers)
            texts.append(str(error))
    files.close()
    found = [number for some in numbers(tmp_path).values() for number in some]
    wanted = set(range(12)) | set(range(13, 22))
    assert sorted(found) == sorted(wanted - lost)
    assert all("No space left on device" in text for text in texts)
    assert [Path(path).name for path in files.paths] == sorted(numbers(tmp_path))
    contents = read_contents([Path(path) for path in files.paths])
    for piece in contents.pieces:
        with h5py.File(piece.path) as file:
            data = file["entry/instrument/detector/data"]
            part = data[piece.slot : piece.slot + piece.count]
        np.testing.assert_array_equal(part, frames.pixels[piece.first :][: piece.count, 0])


def test_a_file_that_cannot_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(monkeypatch, "_open", 1, after=True)
    with pytest.raises(OSError, match="No space left on device") as caught:
        series(tmp_path)
    assert caught.value.filename == str(tmp_path / "run_0_00000.h5")
    assert list(tmp_path.iterdir()) == []
    series(tmp_path).close()  # the same name is free again
    assert [path.name for path in tmp_path.iterdir()] == ["run_0_00000.h5"]


def test_frames_of_a_removed_file_are_not_called_safe(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    files = series(folder)
    frames = block(1, SPEC, 9)
    files.append([chunks(frames[:2])])
    shutil.rmtree(folder)
    for start in (2, 4):
        with pytest.raises(SaveError, match=r"removed|No such file") as caught:
            files.append([chunks(frames[start : start + 2])])
        assert caught.value.numbers == (start, start + 1)
    folder.mkdir()
    files.append([chunks(frames[6:])])
    files.close()
    assert numbers(folder) == {"run_0_00001.h5": [6, 7, 8]}


def test_a_file_without_marks_is_not_opened_to_write(tmp_path: Path) -> None:
    files = series(tmp_path)
    files.append([chunks(block(1, SPEC, 2))])
    files.close()
    with open(files.paths[0], "rb") as file:
        assert recover(file.fileno()) is False


def test_what_hdf5_says_becomes_what_the_system_said() -> None:
    long = RuntimeError("Can't write (errno = 30, error message = 'Read-only file system', buf)")
    assert str(plain_error(long, "a.h5")) == "[Errno 30] Read-only file system: 'a.h5'"
    assert "ValueError: odd" in str(plain_error(ValueError("odd"), "a.h5"))
    given = FileNotFoundError(2, "gone", "b.h5")
    assert plain_error(given, "a.h5") is given


@pytest.mark.parametrize("retries", [0, 1])
def test_only_frames_that_are_not_safe_miss_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    pipe = Pipeline()
    pipe.add("file", SaveHdf5(folder=str(tmp_path), compression="none", nb_frames_per_file=5))
    policy = Policy(on_error="retry" if retries else "mark", retries=max(1, retries))
    program = Program(plan(pipe, SPEC), policy)
    Fault(monkeypatch, "_open", 1, after=False)  # of the second file
    outcome = program.run(block(1, SPEC, 12))
    program.close()
    status = outcome.status().tolist()
    found = {number for some in numbers(tmp_path).values() for number in some}
    assert found == set(range(12 if retries else 5))
    assert [number for number in range(12) if status[number] == Status.PRESENT] == sorted(found)
    told = [(one.first, one.last) for one in outcome.failures]
    assert told == ([] if retries else [(5, 11)])
    assert os.listdir(tmp_path)
