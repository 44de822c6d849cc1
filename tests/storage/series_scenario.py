"""A series on a disk that gets full at every place; run as a script, on a small disk."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from disk import fill

from limadask.errors import SaveError
from limadask.frames import Spec
from limadask.geometry import Grid
from limadask.storage import Chunks, FileSeries, FrameLayout, encoder

SPEC = Spec(Grid((16, 20)), np.dtype("u2"))
RANDOM = np.random.default_rng(1)
IMAGES = [RANDOM.integers(0, 5, (16, 20)).astype("u2") for _ in range(250)]
PAGE = 4096


def chunks(numbers: range, codec: Any) -> Chunks:
    encode = encoder(codec)
    some = np.array(numbers)
    invalid = {n: [encode(np.ones((16, 20), "u1"))] for n in numbers if n % 20 == 7}
    data = [encode(IMAGES[number]) for number in numbers]
    return Chunks(some, some * 1000, np.ones(len(some), "u1"), data, invalid)


def attempt(disk: Path, codec: Any, pages: int) -> tuple[str, str, list[str]]:
    """Save frames with so many pages of room; return what failed, its text, and what is wrong."""
    folder = disk / "out"
    folder.mkdir()
    filler = fill(disk, free=pages * PAGE)
    safe: set[int] = set()
    kind, text = "none", ""
    try:
        files = FileSeries(folder, "run", 0, [FrameLayout(SPEC, codec)], 60)
    except OSError as error:
        return "begin", str(error), check(folder, filler, safe)
    for start in range(0, 200, 5):
        numbers = range(start, start + 5)
        try:
            files.append([chunks(numbers, codec)])
            safe |= set(numbers)
        except SaveError as error:
            kind, text = "append", str(error)
            safe |= set(numbers) - set(error.numbers)
    filler.unlink()  # there is room again
    files.append([chunks(range(200, 210), codec)])
    safe |= set(range(200, 210))
    files.close()
    return kind, text, check(folder, filler, safe)


def check(folder: Path, filler: Path, safe: set[int]) -> list[str]:
    """Return what is wrong; leave the disk empty."""
    gc.collect()
    wrong, found = [], []
    for one in os.listdir("/proc/self/fd"):
        target = os.path.realpath(f"/proc/self/fd/{one}")
        if ".h5" in target or "memfd" in target:
            wrong.append(f"left open: {target}")
    for path in sorted(folder.iterdir()):
        with h5py.File(path, "r") as file:
            group = file["entry/instrument/detector"]
            rows = min(map(len, group.values()))
            columns = [group[name][:rows].tolist() for name in ("timestamp", "status")]
            for row, number in enumerate(group["frame_number"][:rows].tolist()):
                found.append(number)
                if not (group["data"][row] == IMAGES[number]).all():
                    wrong.append(f"pixels of {number}")
                if (columns[0][row], columns[1][row]) != (number * 1000, 1):
                    wrong.append(f"fields of {number}")
        path.unlink()
    if sorted(found) != sorted(safe):
        wrong.append(f"lost {sorted(safe - set(found))}, too many {sorted(set(found) - safe)}")
    folder.rmdir()
    filler.unlink(missing_ok=True)
    return wrong


def main(disk: Path, codec: str, step: int) -> dict[str, Any]:
    told: dict[str, Any] = {"kinds": [], "texts": [], "wrong": []}
    for pages in range(0, 80, step):
        kind, text, wrong = attempt(disk, codec, pages)
        told["kinds"].append(kind)
        told["texts"] += [text] if text else []
        told["wrong"] += [f"{pages} pages: {one}" for one in wrong]
    return told


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
