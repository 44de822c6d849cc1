"""Damaged data files: frames that are sound, or an error that names what is wrong; no crash."""

from __future__ import annotations

import json
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import limadask as ld
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder, rescue
from limadask.task import Place

NB_FRAMES = 12
SHAPE = (8, 10)
DETECTOR = "entry/instrument/detector"
IMAGES = np.random.default_rng(3).integers(0, 1000, (NB_FRAMES, *SHAPE)).astype("u2")
MARKED = 11
"""The byte of an HDF5 file that says that somebody writes it."""


class Reader:
    """A process that looks at damaged files; begun anew when one has killed it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def look(self, folder: Path) -> Any:
        """Return what it made of a folder."""
        if self._process is None:
            program = Path(__file__).with_name("damage_scenario.py")
            self._process = subprocess.Popen(
                [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        print(folder, file=process.stdin, flush=True)
        readable, _, _ = select.select([process.stdout], [], [], 60)
        line = process.stdout.readline() if readable else ""
        if not line:
            self.end()
        assert readable, "it does not end"
        assert line, f"it has crashed: {process.returncode}"
        return json.loads(line)

    def end(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.end()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sound data files in ``sound``."""
    made = tmp_path_factory.mktemp("damaged")
    np.save(made / "expected.npy", IMAGES)
    (made / "sound").mkdir()
    spec = Spec(Grid(SHAPE), np.dtype("u2"), nb_frames=NB_FRAMES)
    about = {"parameters": {"user": {}, "hardware": {}, "software": {}}}
    place = Place("file", "some-run", 0, 1, "worker", about)
    series = FileSeries(made / "sound", "run", 0, [FrameLayout(spec, "bshuf_lz4", place=place)], 8)
    encode = encoder("bshuf_lz4")
    for first in range(0, NB_FRAMES, 4):
        numbers = np.arange(first, first + 4)
        chunks = [encode(IMAGES[number]) for number in numbers]
        causes = {first: "packets_lost"}
        status = np.array([2, 1, 1, 1], "u1")
        series.append([Chunks(numbers, numbers * 1000, status, chunks, causes=causes)])
    series.close()
    return made


def raw_bytes(path: Path) -> set[int]:
    """Where values lie that no checksum of HDF5 covers: pixels and what is told of frames."""
    places: set[int] = set()
    with h5py.File(path) as file:
        for name in ("data", "frame_number", "timestamp", "status"):
            dataset = file[f"{DETECTOR}/{name}"].id
            for index in range(dataset.get_num_chunks()):
                chunk = dataset.get_chunk_info(index)
                places |= set(range(chunk.byte_offset, chunk.byte_offset + chunk.size))
    return places


numbers = count()
damages = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6)


def damage(folder: Path, flips: list[tuple[float, int]], cut: float, marked: bool) -> Any:
    """Damage the first of two files; return the folder, and whether values may be wrong."""
    made = folder / str(next(numbers))
    shutil.copytree(folder / "sound", made)
    path = made / "run_0_00000.h5"
    raw, content = raw_bytes(path), bytearray(path.read_bytes())
    if marked:
        content[MARKED] = 5
    path.write_bytes(damaged(content, flips, cut))
    return made, any(int(place * (len(content) - 1)) in raw for place, _ in flips)


def damaged(content: bytes | bytearray, flips: list[tuple[float, int]], cut: float) -> bytes:
    """Change some bytes and cut off the end."""
    changed = bytearray(content)
    for place, value in flips:
        changed[int(place * (len(changed) - 1))] = value
    return bytes(changed[: int(cut * len(changed))])


@example(flips=[(1 / 64, 0)], cut=1.0, marked=True)
@example(flips=[], cut=0.9, marked=True)
@example(flips=[(0.140625, 1)], cut=1.0, marked=False)
@given(flips=damages, cut=st.sampled_from([1.0, 1.0, 0.95, 0.7, 0.3, 0.01]), marked=st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_data_file(
    reader: Reader, folder: Path, flips: list[tuple[float, int]], cut: float, marked: bool
) -> None:
    made, may_be_wrong = damage(folder, flips, cut, marked)
    told = reader.look(made)
    shutil.rmtree(made)
    assert "unnamed" not in told, told
    if not may_be_wrong:
        assert all(told["equal"].values()), told
    if not told["error"]:
        assert {"9", "10", "11"} <= set(told["equal"]), "the sound file is not in the master"


# bytes of masters are not changed: they have no checksums, and HDF5 itself may crash on them
@given(cut=st.floats(0, 0.999))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_master_file_that_was_cut_off(reader: Reader, folder: Path, cut: float) -> None:
    made, _ = damage(folder, [], 1.0, False)
    rescue(made)
    path = made / "run_master.h5"
    path.write_bytes(damaged(path.read_bytes(), [], cut))
    with pytest.raises(ld.ConfigError, match="is no master file"):
        ld.open(path)
    told = reader.look(made)
    shutil.rmtree(made)
    assert f"{path} is damaged, move it away to have it made anew" in told["error"]


def test_sound_files_are_read_whole(reader: Reader, folder: Path) -> None:
    made, _ = damage(folder, [], 1.0, False)
    told = reader.look(made)
    assert told["equal"] == {str(n): True for n in range(NB_FRAMES) if n % 4}
    assert told["damaged"] == {}


def test_a_frame_number_that_cannot_be_does_not_make_an_endless_master(
    reader: Reader, folder: Path
) -> None:
    made, _ = damage(folder, [], 1.0, False)
    path = made / "run_0_00000.h5"
    with h5py.File(path, "r+") as file:
        file[f"{DETECTOR}/frame_number"][3] = 1 << 60
    told = reader.look(made)
    assert set(told["equal"]) == {"9", "10", "11"}
    assert f"it tells of frame {1 << 60}, where 12 were expected" in told["damaged"][str(path)]
