"""Which pixels single frames lack, read from a master file when they are asked for."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


class Validity:
    """An array that is True where a frame lacks a pixel; only what is asked for is read.

    Parameters
    ----------
    path:
        The master file.
    name:
        The group in it.
    numbers:
        The frames that lack pixels, in the order of the group.
    shape:
        ``(frame, band, y, x)``, or ``(frame, y, x)`` for one band.
    band:
        That band.
    """

    dtype = np.dtype(bool)

    def __init__(
        self,
        path: str,
        name: str,
        numbers: NDArray[np.int64],
        shape: tuple[int, ...],
        band: int = 0,
    ) -> None:
        self._path, self._name, self._band, self.shape = path, name, band, shape
        self._rows = {number: row for row, number in enumerate(numbers.tolist())}

    @property
    def ndim(self) -> int:
        """How many dims it has."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> NDArray[np.bool_]:
        first, *others = key if isinstance(key, tuple) else (key,)
        frames = np.arange(self.shape[0])[first]
        numbers = np.atleast_1d(frames).tolist()
        found = np.zeros((len(numbers), *self.shape[1:]), bool)
        if lacking := [place for place, one in enumerate(numbers) if one in self._rows]:
            with h5py.File(self._path) as file:
                invalid = file[f"{self._name}/invalid"]
                for place in lacking:
                    bands = invalid[self._rows[numbers[place]]] != 0
                    found[place] = bands if self.ndim == 4 else bands[self._band]
        part: NDArray[np.bool_] = found[(slice(None), *others)]
        return part if frames.ndim else part[0]
