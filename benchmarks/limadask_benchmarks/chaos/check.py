"""Holds a master file against the frames that should be in it; knows h5py alone.

Arguments: the master, the camera's frames (``.npy``), the acknowledged frame numbers (JSON), and
``parts`` where a frame may lack the part of a receiver that was killed: it is acknowledged all the
same, and everything else of it must be right.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter
import numpy as np
from numpy.typing import NDArray

PRESENT, PARTIAL, ABSENT = 1, 2, 3


def main() -> None:
    """Print what is lost, wrong or nameless, as JSON."""
    master, frames, log, *more = sys.argv[1:]
    expected, acknowledged = np.load(frames), json.loads(Path(log).read_text())
    with h5py.File(master, "r") as file:
        data = file["entry/data/data"][()]
        status = file["entry/data/frame_status"][()]
        cause = file["entry/data/frame_cause"][()]
    same = np.array([np.array_equal(*pair) for pair in zip(data, expected, strict=False)])
    filled = (data == np.iinfo(data.dtype).max).all(axis=(1, 2))
    right = np.array([_all_but_fill(*pair) for pair in zip(data, expected, strict=False)])
    is_part = (status == PARTIAL) & right & ~filled & bool(more)
    good = ((status == PRESENT) & same) | is_part
    lost = [n for n in acknowledged if n >= len(same) or not good[n]]
    wrong = ((status == PRESENT) & ~same) | ((status == ABSENT) & ~filled)
    wrong |= (status == PARTIAL) & ~right
    nameless = ((status != PRESENT) & (cause == b"")) | ~np.isin(status, (1, 2, 3, 4))
    told = {
        "lost": len(lost),
        "wrong": int(wrong.sum()),
        "nameless": int(nameless.sum()) + max(0, len(expected) - len(data)),
    }
    print(json.dumps(told))


def _all_but_fill(found: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Tell whether all pixels that are there are right."""
    return bool(((found == expected) | (found == np.iinfo(found.dtype).max)).all())


if __name__ == "__main__":
    main()
