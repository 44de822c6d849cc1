"""The files of a writer that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from limadask.storage import read_contents, recover

DATA = "entry/instrument/detector/data"
WRITER = """
import sys
from pathlib import Path
import numpy as np
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder

spec = Spec(Grid((64, 80)), np.dtype("u2"))
files = FileSeries(Path(sys.argv[1]), "run", 0, [FrameLayout(spec, "bshuf_lz4")], 1000)
encode = encoder("bshuf_lz4")
first = 0
while True:
    numbers = np.arange(first, first + 10)
    images = [encode(np.full((64, 80), number, "u2")) for number in numbers]
    files.append([Chunks(numbers, numbers * 1000, np.ones(10, "u1"), images)])
    first += 10
    print(first, flush=True)
"""


def killed(folder: Path, blocks: int) -> int:
    """Kill a process in the midst of writing; return how many frames it had acknowledged."""
    command = [sys.executable, "-c", WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(blocks):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        assert writer.wait(30) == -signal.SIGKILL
        for line in writer.stdout:  # said before the signal came
            if line.endswith("\n"):
                acknowledged = int(line)
    return acknowledged


def test_every_acknowledged_frame_of_a_killed_writer_can_be_read(tmp_path: Path) -> None:
    acknowledged = killed(tmp_path, 25)
    path = tmp_path / "run_0_00000.h5"
    with pytest.raises(OSError, match="open"):
        h5py.File(path, "r")
    assert recover(path) is True
    with h5py.File(path, "r") as file:
        numbers = file["entry/instrument/detector/frame_number"][:acknowledged]
        assert numbers.tolist() == list(range(acknowledged))
        for number, image in zip(numbers, file[DATA], strict=False):
            assert (image == number).all()
    assert recover(path) is False


def test_the_contents_of_a_killed_writer_are_read_without_further_ado(tmp_path: Path) -> None:
    acknowledged = killed(tmp_path, 3)
    contents = read_contents([tmp_path / "run_0_00000.h5"])
    assert contents.numbers[:acknowledged].tolist() == list(range(acknowledged))
    np.testing.assert_array_equal(contents.timestamps, contents.numbers * 1000)
    assert set(contents.status.tolist()) == {1}


def test_a_file_that_was_closed_is_left_as_it_is(tmp_path: Path) -> None:
    for libver in ("earliest", "latest"):
        path = tmp_path / f"{libver}.h5"
        with h5py.File(path, "w", libver=libver) as file:
            file["data"] = [1, 2, 3]
        before = path.read_bytes()
        assert recover(path) is False
        assert path.read_bytes() == before


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    for name, text in (("empty", b""), ("text", b"not HDF5" * 20), ("short", b"\x89HDF\r\n\x1a\n")):
        path = tmp_path / name
        path.write_bytes(text)
        with pytest.raises(OSError, match="no HDF5 file"):
            recover(path)
        assert path.read_bytes() == text
    with pytest.raises(FileNotFoundError):
        recover(tmp_path / "nothing")


def test_a_damaged_superblock_is_refused_and_left_alone(tmp_path: Path) -> None:
    killed(tmp_path, 1)
    path = tmp_path / "run_0_00000.h5"
    content = bytearray(path.read_bytes())
    content[30] ^= 0xFF  # a byte of the end-of-file address
    path.write_bytes(content)
    with pytest.raises(OSError, match="damaged"):
        recover(path)
    assert path.read_bytes() == content
