"""What limadask saved beside its frames: when they were taken, and which are there."""

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
        self._stamps = self._status = None
        creator = dataset.file.attrs.get("creator")
        if isinstance(creator, str) and creator.startswith("limadask"):
            group = _beside(dataset)
            self._stamps = _column(group, ("timestamp",), count)
            self._status = _column(group, _STATUS, count)

    def image(self, number: int) -> Image | None:
        """Return what is known of a frame; None when it is not there."""
        stamp = None if self._stamps is None else int(self._stamps[number]) or None
        if self._status is None:
            return Image(stamp)
        status = int(self._status[number])
        if status not in (Status.PRESENT, Status.PARTIAL):
            return None
        return Image(stamp, complete=status == Status.PRESENT)


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
