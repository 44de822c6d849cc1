"""Savers that are broken on purpose, to see that chaos finds it."""

from __future__ import annotations

from typing import Any

import h5py

from limadask.frames import Spec
from limadask.storage.data_file import DataFile
from limadask.task import Place, RunRecord
from limadask_tasks import SaveHdf5
from limadask_tasks.save_hdf5 import Hdf5Writer


class Unflushed(SaveHdf5):
    """Acknowledges frames that are not flushed."""

    def open(self, spec: Spec, place: Place) -> Hdf5Writer:
        """Begin to write, with the flush taken out."""
        DataFile.flush = lambda _: None  # type: ignore[method-assign, assignment]
        return super().open(spec, place)


class Forgetful(SaveHdf5):
    """Drops the status of a frame."""

    def join(self, spec: Spec, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Write the master, and forget what became of frame 7."""
        super().join(spec, place, parts, run)
        with h5py.File(self.path(), "a") as file:
            file["entry/data/frame_status"][7] = 0


savers: dict[str, type[SaveHdf5]] = {"": SaveHdf5, "flush": Unflushed, "status": Forgetful}
