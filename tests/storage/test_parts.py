"""Which frames the data files of a run hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder, read_contents

DATA = "entry/instrument/detector/data"
SPEC = Spec(Grid((2, 3)), np.dtype("u4"))


def written(folder: Path, rank: int, blocks: list[list[int]], per_file: int) -> list[Path]:
    """Write frames whose pixels tell number and rank."""
    files = FileSeries(folder, "run", rank, [FrameLayout(SPEC, "zip")], per_file)
    encode = encoder("zip")
    for numbers in blocks:
        images = [encode(np.full((2, 3), number * 10 + rank, "u4")) for number in numbers]
        numbered = np.array(numbers, np.int64)
        status = (1 + numbered % 2).astype(np.uint8)
        files.append([Chunks(numbered, numbered * 100 + rank, status, images)])
    files.close()
    return [Path(path) for path in files.paths]


@given(
    blocks=st.lists(
        st.tuples(
            st.integers(0, 1), st.sets(st.integers(0, 30), min_size=1, max_size=6).map(sorted)
        ),
        max_size=8,
    ),
    per_file=st.integers(1, 7),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_each_frame_is_found_once_wherever_it_was_saved_first(
    blocks: list[tuple[int, list[int]]], per_file: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    paths, model = [], {}
    for rank in (0, 1):
        mine = [numbers for owner, numbers in blocks if owner == rank]
        paths += written(folder, rank, mine, per_file)
        for number in (one for numbers in mine for one in numbers):
            model.setdefault(number, rank)
    contents = read_contents(paths)
    assert contents.numbers.tolist() == sorted(model)
    assert contents.timestamps.tolist() == [one * 100 + model[one] for one in sorted(model)]
    assert contents.status.tolist() == [1 + one % 2 for one in sorted(model)]
    found: dict[int, Any] = {}
    for piece in contents.pieces:
        with h5py.File(piece.path) as file:
            data = file[DATA]
            assert len(data) == piece.length
            for step in range(piece.count):
                found[piece.first + step] = data[piece.slot + step]
    assert sorted(found) == sorted(model)
    for number, image in found.items():
        assert (image == number * 10 + model[number]).all()


def test_frames_in_order_make_one_piece_of_each_file(tmp_path: Path) -> None:
    paths = written(tmp_path, 0, [[0, 1, 2], [3, 4], [5, 6, 7]], per_file=4)
    pieces = read_contents(paths).pieces
    assert [(piece.first, piece.count, piece.slot) for piece in pieces] == [(0, 4, 0), (4, 4, 0)]


def test_no_files_and_empty_files_hold_nothing(tmp_path: Path) -> None:
    assert read_contents([]).numbers.size == 0
    contents = read_contents(written(tmp_path, 0, [], 5))
    assert contents.pieces == ()
    assert contents.numbers.size == 0


def test_a_frame_whose_number_was_not_written_is_left_out(tmp_path: Path) -> None:
    """As a writer leaves it that was killed between its pixels and their number."""
    (path,) = written(tmp_path, 0, [[0, 1, 2, 3]], 10)
    with h5py.File(path, "r+", libver="latest") as file:
        file["entry/instrument/detector/frame_number"].resize(2, axis=0)
        file["entry/instrument/detector/status"].resize(3, axis=0)
    assert read_contents([path]).numbers.tolist() == [0, 1]
    with h5py.File(path, "r+", libver="latest") as file:
        file["entry/instrument/detector/frame_number"].resize(4, axis=0)  # grown, not written
    assert read_contents([path]).numbers.tolist() == [0, 1]
