"""Reads damaged files, in a process of its own: HDF5 may crash on them, and a test must see it.

Each line of the standard input is a folder with data files; the answer is one line of JSON: the
error, or the frames that are told to be there whole, and whether each equals ``expected.npy``.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import limadask as ld
from limadask.errors import LimadaskError
from limadask.storage import rescue


def looked_at(folder: Path) -> dict[str, Any]:
    """Make the masters of a folder, and read all frames that they tell to be present."""
    expected, equal = np.load(folder.parent / "expected.npy"), dict[int, bool]()
    try:
        done = rescue(folder, force=True)
        for path in folder.glob("*_master.h5"):
            data = ld.open(path)["entry/data"].to_dataset()
            present = np.flatnonzero(data["frame_status"].values == ld.Status.PRESENT)
            with h5py.File(path) as file, suppress(OSError):  # a chunk that cannot be decoded
                for number in reversed(present.tolist()):
                    found = file["entry/data/data"][number]
                    equal[number] = number < len(expected) and bool(
                        np.array_equal(found, expected[number])
                    )
                data["data"].load()
    except (LimadaskError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}", "equal": {}}
    return {"error": "", "equal": equal, "damaged": done.damaged}


def main() -> None:
    """Answer until nobody asks any more."""
    for line in sys.stdin:
        try:
            told = looked_at(Path(line.strip()))
        except Exception as error:  # not one that we name
            told = {"unnamed": repr(error)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
