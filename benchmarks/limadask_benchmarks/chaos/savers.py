"""Savers that tell of their flushes; some are broken on purpose, to see that chaos finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from limadask.frames import Frames
from limadask.storage import Chunks
from limadask.storage.data_file import DataFile
from limadask.task import Given, Place, RunRecord, Writer
from limadask_benchmarks.chaos.flushes import tell_flushes
from limadask_tasks import SaveHdf5


class Telling(SaveHdf5):
    """Tells of each flush as it begins."""

    def open(self, spec: Given, place: Place) -> Writer:
        """Begin to write."""
        tell_flushes(Path(self.folder))
        return super().open(spec, place)


class Unflushed(SaveHdf5):
    """Acknowledges frames that are not flushed."""

    def open(self, spec: Given, place: Place) -> Writer:
        """Begin to write, with the flush taken out."""
        DataFile.flush = lambda _: None  # type: ignore[method-assign, assignment]
        return super().open(spec, place)


class Forgetful(Telling):
    """Drops the status of a frame."""

    def join(self, spec: Given, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Write the master, and forget what became of frame 7."""
        super().join(spec, place, parts, run)
        with h5py.File(self.path(), "a") as file:
            file["entry/data/frame_status"][7] = 0


class Silent(Telling):
    """Does not write down why frames are not whole."""

    def open(self, spec: Given, place: Place) -> Writer:
        """Begin to write, with the causes taken out."""
        writer = super().open(spec, place)
        encode = writer.encode

        def without_causes(frames: Frames) -> Chunks:
            chunks: Chunks = encode(frames)
            return replace(chunks, causes={})

        writer.encode = without_causes  # type: ignore[method-assign]
        return writer


savers: dict[str, type[SaveHdf5]] = {
    "": Telling,
    "flush": Unflushed,
    "status": Forgetful,
    "causes": Silent,
}
