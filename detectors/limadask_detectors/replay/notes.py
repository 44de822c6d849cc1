"""What limadask saved beside its frames: when they were taken, and what of them is there."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import Status
from limadask_detectors.replay.images import Image

_STATUS = ("frame_status", "status")
"""Names in a master, and in a data file."""
_DETECTOR = "entry/instrument/detector"
_VALIDITY = ("instrument/detector/validity", "instrument/validity")
"""Places in an entry of a master, and of a data file."""


class Notes:
    """Timestamp and status of the frames of one dataset, where limadask wrote it.

    Parameters
    ----------
    dataset:
        The frames.
    count:
        How many.
    """

    def __init__(self, dataset: h5py.Dataset, count: int) -> None:
        self._stamps = self._status = self._invalid = None
        self._rows: dict[int, int] = {}
        creator = dataset.file.attrs.get("creator")
        if isinstance(creator, str) and creator.startswith("limadask"):
            group = _beside(dataset)
            self._stamps = _column(group, ("timestamp",), count)
            self._status = _column(group, _STATUS, count)
            self._read_validity(group, count)

    def image(self, number: int) -> Image | None:
        """Return what is known of a frame; None when it is not there."""
        stamp = None if self._stamps is None else int(self._stamps[number]) or None
        if self._status is None:
            return Image(stamp)
        status = int(self._status[number])
        if status not in (Status.PRESENT, Status.PARTIAL):
            return None
        row = self._rows.get(number)
        invalid = None if row is None or self._invalid is None else self._invalid[row] != 0
        return Image(stamp, status == Status.PRESENT, invalid)

    def _read_validity(self, group: h5py.Group, count: int) -> None:
        """Find which of the frames lack pixels, and where it is told which."""
        entry = group.file[group.name.split("/")[1]]
        numbers = _column(group, ("frame_number",), count)
        for place in _VALIDITY:
            if (told := entry.get(place)) is not None:
                lacking = told["frame_number"][: len(told["invalid"])].tolist()
                at = {number: row for row, number in enumerate(lacking)}
                order = range(count) if numbers is None else numbers.tolist()
                self._rows = {place: at[one] for place, one in enumerate(order) if one in at}
                self._invalid = told["invalid"]


def _beside(dataset: h5py.Dataset) -> h5py.Group:
    """Return the group with the columns: in a data file the detector's, whose data is linked."""
    file = dataset.file
    return file[_DETECTOR] if file.get(f"{_DETECTOR}/data") == dataset else dataset.parent


def _column(group: h5py.Group, names: tuple[str, ...], count: int) -> NDArray[Any] | None:
    for name in names:
        found = group.get(name)
        if isinstance(found, h5py.Dataset) and found.shape == (count,) and found.dtype.kind in "iu":
            return np.asarray(found[()])
    return None
