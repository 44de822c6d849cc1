"""Holds a master file, and the ledger, against the frames that should be; knows h5py alone.

Arguments: the master, the camera's frames (``.npy``), and what is known of the run (JSON): see
:class:`Known`. Prints what is lost, wrong or nameless, as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - registers the filter
import numpy as np
from numpy.typing import NDArray

PRESENT, PARTIAL, ABSENT = 1, 2, 3
ERROR = "task_error:failing"
DIED = {"detector", "receiver_lost", "worker_lost", "stopped", "file_lost"}
"""Causes of frames that a kill may take away."""


@dataclass(frozen=True)
class Known:
    """What is known of a run.

    Parameters
    ----------
    acknowledged:
        Frames that were said to be safe.
    lossy:
        Frames that lose packets: partial, cause ``packets_lost``, where they are there.
    failing:
        Frames that a task before the saver raises for, and with them others of their block.
    has_parts:
        Whether a frame may lack the part of a receiver that was killed: it is acknowledged all the
        same, and everything else of it must be right.
    ledger:
        Status and cause of each frame, where somebody was left to tell.
    """

    acknowledged: list[int]
    lossy: list[int]
    failing: list[int]
    has_parts: bool
    ledger: list[tuple[int, str]] | None = None

    def may_be(self, number: int, status: int, cause: str) -> bool:
        """Tell whether a frame may have this fate."""
        error = cause == ERROR
        if number in self.failing:  # nothing else is to be heard of those, and none is whole
            return status in (PARTIAL, ABSENT) and (error or cause in DIED)
        if status == PRESENT:
            return number not in self.lossy and not cause
        if status == PARTIAL and not error:
            is_lossy = number in self.lossy and cause == "packets_lost"
            return is_lossy or (self.has_parts and cause in DIED)
        return status in (PARTIAL, ABSENT) and (error or cause in DIED)


@dataclass(frozen=True)
class Saved:
    """What a master file tells of each frame: pixels, those it lacks, status and cause."""

    data: NDArray[Any]
    invalid: NDArray[np.bool_]
    fates: list[tuple[int, str]]

    @classmethod
    def read(cls, master: str) -> Saved:
        """Read a file."""
        with h5py.File(master, "r") as file:
            data = file["entry/data/data"][()]
            status = file["entry/data/frame_status"][()].tolist()
            causes = file["entry/data/frame_cause"].asstr()[()].tolist()
            invalid = np.zeros(data.shape, bool)
            if (lacking := file.get("entry/instrument/detector/validity")) is not None:
                rows = zip(lacking["frame_number"][()], lacking["invalid"][()], strict=True)
                for number, bands in rows:
                    invalid[number] |= bands[0] != 0
        return cls(data, invalid, list(zip(status, causes, strict=True)))

    def is_right(self, number: int, expected: NDArray[Any]) -> bool:
        """Tell whether the pixels of a frame are what its status says."""
        found, lacks = self.data[number], self.invalid[number]
        fill = np.iinfo(found.dtype).max
        match self.fates[number][0]:
            case 1:
                return np.array_equal(found, expected)
            case 2:
                is_there = bool((found != fill).any())
                return is_there and np.array_equal(found, np.where(lacks, fill, expected))
        return bool((found == fill).all())


def judge(saved: Saved, expected: NDArray[Any], known: Known) -> dict[str, int]:
    """Return how many acknowledged frames are lost, and how many frames wrong or nameless."""
    count = len(saved.fates)
    right = [saved.is_right(number, expected[number]) for number in range(count)]
    named = [known.may_be(number, *fate) for number, fate in enumerate(saved.fates)]
    good = [
        right[number] and named[number] and status in (PRESENT, PARTIAL) and cause != ERROR
        for number, (status, cause) in enumerate(saved.fates)
    ]
    told = known.ledger if known.ledger is not None else []
    in_ledger = [known.may_be(number, *fate) for number, fate in enumerate(told)]
    return {
        "lost": sum(number >= count or not good[number] for number in known.acknowledged),
        "wrong": right.count(False),
        "nameless": named.count(False) + in_ledger.count(False) + max(0, len(expected) - count),
    }


def main() -> None:
    """Judge one run."""
    master, frames, told = sys.argv[1:]
    known = Known(**json.loads(Path(told).read_text()))
    print(json.dumps(judge(Saved.read(master), np.load(frames), known)))


if __name__ == "__main__":
    main()
