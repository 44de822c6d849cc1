"""An entry of a data file with what one worker knows of a whole run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from limadask.frames import NEVER, Status
from limadask.storage.codec import dataset_options
from limadask.storage.entry import ENTRY, ROWS, Entry, describe, make_table
from limadask.task import Place, Products, State

logger = logging.getLogger(__name__)
STATE = f"{ROWS}/state"
"""The arrays, within an entry."""
WHOLE_RUN = "whole_run"
"""The attribute of such an entry: its one row is no frame."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a worker knows at the end; written once, as if it were a frame.

    Parameters
    ----------
    state:
        The arrays, by name.
    """

    state: State
    numbers: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    timestamps: NDArray[np.int64] = field(default_factory=lambda: np.full(1, NEVER, np.int64))
    status: NDArray[np.uint8] = field(default_factory=lambda: np.full(1, Status.PRESENT, np.uint8))
    causes: Mapping[int, str] = field(default_factory=dict)


class RunEntry(Entry[Known]):
    """What one worker knows.

    Parameters
    ----------
    group:
        The entry.
    """

    def __init__(self, group: h5py.Group) -> None:
        super().__init__(group)
        self._arrays = dict(group[STATE].items())

    def _append(self, part: Known, places: slice) -> None:
        for name, array in part.state.items():
            dataset = self._arrays[name]
            if dataset.shape != array.shape:
                dataset.resize(array.shape)
            dataset[...] = array

    def _flush(self) -> None:
        for dataset in self._arrays.values():
            dataset.flush()


@dataclass(frozen=True, slots=True, eq=False)
class RunLayout:
    """What an entry with results of a whole run is made for.

    Parameters
    ----------
    products:
        The results.
    place:
        The acquisition and its node.
    name:
        Name of the entry.
    """

    products: Products
    place: Place = field(default_factory=lambda: Place(""))
    name: str = ENTRY

    def opened(self, group: h5py.Group) -> RunEntry:
        """Return it, to be appended to."""
        return RunEntry(group)

    def make(self, group: h5py.Group) -> None:
        """Make all that it consists of: arrays as large as those of no frame, which may grow."""
        running, spec = self.products.running, self.products.of
        if running is None or spec is None:
            raise TypeError("these by-products are of single frames")
        for name, array in running.told(running.init(spec)).items():
            options: dict[str, Any] = {}
            if array.ndim:
                options = {"maxshape": (None,) * array.ndim, "chunks": True}
                options |= dataset_options("bshuf_lz4")
            group.create_dataset(f"{STATE}/{name}", array.shape, array.dtype, **options)
        make_table(group, ROWS)
        for place, kind in ((ROWS, "NXcollection"), ("instrument", "NXcollection")):
            group[place].attrs["NX_class"] = kind
        group[STATE].attrs["NX_class"] = "NXcollection"
        group.attrs[WHOLE_RUN] = True
        describe(group, self.place, {WHOLE_RUN: True})


def states_of(files: Iterable[str | Path], entry: str) -> list[State]:
    """Return what all workers have written of a run; one that died has written nothing."""
    found = []
    for path in files:
        try:
            with h5py.File(path, "r") as file:
                group = file[entry]
                if len(group[f"{ROWS}/frame_number"]):
                    arrays = group[STATE].items()
                    found.append({name: np.asarray(one[()]) for name, one in arrays})
        except (OSError, KeyError, RuntimeError, ValueError) as error:  # it is told of by others
            logger.warning("%s is left out of the result: %s", path, error)
    return found
