"""``limadask bench save``: what the loops written by hand make is right, and figures come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest
from numcodecs import Blosc
from numpy.typing import NDArray

from limadask_benchmarks.save import loops, parts, work


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "BLOCKS", 1)


def hdf5(folder: Path) -> NDArray[np.uint16]:
    with h5py.File(folder / "loop.h5") as file:
        return np.asarray(file["data"][20])


def zarr(folder: Path) -> NDArray[np.uint16]:
    chunk = Blosc().decode((folder / "loop" / "c.20.0.0").read_bytes())
    return np.frombuffer(chunk, np.uint16).reshape(work.SHAPE)


def images(folder: Path) -> NDArray[np.uint16]:
    with fabio.open(str(folder / "loop_00020.cbf")) as file:
        return np.asarray(file.data)


@pytest.mark.parametrize("read", [hdf5, zarr, images])
def test_the_loops_save_the_frames(
    read: Callable[[Path], NDArray[np.uint16]], tmp_path: Path
) -> None:
    pace = getattr(loops, read.__name__)(tmp_path)
    assert pace.rate > 0
    assert pace.cpu > 0
    np.testing.assert_array_equal(read(tmp_path), work.blocks()[1].pixels[4, 0])


def test_a_saver_that_fails_makes_no_figure() -> None:
    def save(block: object) -> None:
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        work.timed(save, lambda: None)


@pytest.mark.parametrize("part", ["zarr", "zmq"])
def test_parts_make_figures(part: str) -> None:
    said: list[str] = []
    figures = parts.PARTS[part](said.append, repeats=1)  # type: ignore[call-arg]
    assert [one.what for one in figures] == [
        part, f"{part}_cpu", f"{part}_raw", f"{part}_raw_cpu",
    ]  # fmt: skip
    assert all(one.ratio > 0 and one.repeats == 1 for one in figures)
    assert len(said) == 2
