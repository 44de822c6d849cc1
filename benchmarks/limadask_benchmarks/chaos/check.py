"""Holds a master file against the frames that should be in it; knows h5py alone.

Arguments: the master, the camera's frames (``.npy``), the acknowledged frame numbers (JSON).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 - registers the filter
import numpy as np

PRESENT, ABSENT = 1, 3


def main() -> None:
    """Print what is lost, wrong or nameless, as JSON."""
    master, frames, log = sys.argv[1:]
    expected, acknowledged = np.load(frames), json.loads(Path(log).read_text())
    with h5py.File(master, "r") as file:
        data = file["entry/data/data"][()]
        status = file["entry/data/frame_status"][()]
        cause = file["entry/data/frame_cause"][()]
    same = np.array([np.array_equal(*pair) for pair in zip(data, expected, strict=False)])
    filled = (data == np.iinfo(data.dtype).max).all(axis=(1, 2))
    lost = [n for n in acknowledged if n >= len(same) or status[n] != PRESENT or not same[n]]
    wrong = ((status == PRESENT) & ~same) | ((status == ABSENT) & ~filled)
    nameless = ((status != PRESENT) & (cause == b"")) | ~np.isin(status, (1, 2, 3, 4))
    told = {
        "lost": len(lost),
        "wrong": int(wrong.sum()),
        "nameless": int(nameless.sum()) + max(0, len(expected) - len(data)),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
