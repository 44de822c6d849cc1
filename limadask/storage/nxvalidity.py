"""Which pixels single frames lack, in a master file."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import Mosaic
from limadask.storage.entry import VALIDITY
from limadask.storage.nexus import field, group
from limadask.storage.parts import Contents


def write_validity(detector: h5py.Group, mosaic: Mosaic, contents: Contents, saved_as: str) -> None:
    """Write which pixels single frames lack: only for frames that do."""
    spec, bands = mosaic.whole, len(mosaic.whole.bands)
    told = [one.numbers for one in contents.lacking]
    told += [one.numbers for one in contents.missing]
    numbers = np.unique(np.concatenate(told)) if told else np.empty(0, int)
    if not len(numbers):
        return
    validity = group(detector, "validity", "NXcollection")
    field(validity, "frame_number", numbers)
    shape = len(numbers), *spec.frame_shape
    layout = h5py.VirtualLayout(shape, "u1")
    for lacking in contents.lacking:
        y, x = mosaic.places[lacking.part]
        stored = len(lacking.numbers), bands, y.stop - y.start, x.stop - x.start
        place = f"{saved_as}/{VALIDITY}/invalid"
        source = h5py.VirtualSource(lacking.path.name, place, stored)
        for row, slot, count in _runs(np.searchsorted(numbers, lacking.numbers)):
            layout[row : row + count, :, y, x] = source[slot : slot + count]
    if any(len(one.numbers) for one in contents.missing):
        # never written: it takes no room, and reads as 1
        ones = validity.create_dataset(
            "missing_part", shape, "u1", chunks=(1, *shape[1:]), fillvalue=1
        )
        for missing in contents.missing:
            y, x = mosaic.places[missing.part]
            for row, _, count in _runs(np.searchsorted(numbers, missing.numbers)):
                part = h5py.VirtualSource(ones)[row : row + count, :, y, x]
                layout[row : row + count, :, y, x] = part
    validity.create_virtual_dataset("invalid", layout)


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """Yield runs of rows that follow each other: first row, its place among all, and how many."""
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    for start, stop in pairwise([*starts.tolist(), len(rows)]):
        yield int(rows[start]), start, stop - start
