"""Save frames as a Zarr store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec
from limadask.storage.fates import saved_fates
from limadask.storage.frame_files import (
    FrameBlock,
    FrameFile,
    FrameWriter,
    line_of,
    of_frames,
    told,
)
from limadask.storage.nexus import iso
from limadask.storage.zarr_store import (
    INVALID,
    MOST,
    RUNNING,
    Fates,
    Layout,
    ZarrCompression,
    ZarrStore,
    chunk_encoder,
    shard_frames,
)
from limadask.task import Place, Recovered, RunRecord
from limadask_tasks.folder_saver import FolderSaver


class SaveZarr(FolderSaver):
    """Save frames as one Zarr v3 store ``{prefix}.zarr``, into which all workers write.

    Each frame is a chunk and a file, which is there whole or not at all; ``xarray.open_zarr`` reads
    the store also while it grows. One band is saved as ``(frame, y, x)``, several as
    ``(frame, band, y, x)``; absent frames read as the fill value.
    """

    file_exists_policy: Literal["abort", "overwrite"] = "abort"
    """When an older run of this prefix is there: refuse, or replace it."""
    compression: ZarrCompression = "blosc_zstd"
    """How frames are compressed; ``blosc_lz4`` is the fastest."""
    nb_dimensions: Literal["dim_3d_or_4d", "dim_4d"] = "dim_3d_or_4d"
    """``dim_4d`` keeps the band axis also when there is one band."""
    shard: PositiveInt | None = None
    """Frames that are put into one file once the run has ended; None leaves each its own."""

    def plan(self, spec: Spec) -> None:
        """Find frames that Blosc cannot take."""
        if self.compression.startswith("blosc") and spec.frame_nbytes > MOST:
            raise ConfigError(
                f"a frame of {spec.frame_nbytes} bytes is too large for Blosc",
                field="compression",
                value=self.compression,
                allowed="zstd or none",
            )

    def path(self) -> str:
        """Return the path of the store."""
        return str(self._path)

    @property
    def _path(self) -> Path:
        return Path(self.folder) / f"{self.prefix}.zarr"

    def taken(self) -> Path | None:
        """Return the store of an older run, if there is one."""
        return self._path if self._path.exists() else None

    def open(self, spec: Spec, place: Place) -> ZarrWriter:
        """Make the store, unless another worker has."""
        store, layout = ZarrStore(self._path, place.uuid), self._layout(spec)
        scratch, count = store.scratch(place.rank), spec.nb_frames or 0
        about = {"uuid": place.uuid, "run_state": RUNNING, "node": place.node, **place.about}
        documents = layout.documents(count, about, Fates.unknown(count))
        try:
            writer = FrameWriter(scratch, place.uuid)
            store.begin(documents, scratch, self.file_exists_policy == "overwrite")
        except FileExistsError as error:
            shutil.rmtree(scratch)  # which is not the other's
            raise self.exists(Path(error.filename)) from error
        except OSError as error:
            raise self.unwritable(error) from error
        return ZarrWriter(writer, layout, self._path)

    def recover(self, spec: Spec, place: Place, rank: int) -> Recovered:
        """Return the frames that a worker had saved before it died."""
        store = ZarrStore(self._path, place.uuid)
        found = told([store.scratch(rank)], place.uuid)
        found = of_frames(found, store.frames(self._layout(spec).name))
        return Recovered(found.numbers, found.status, found.causes)

    def join(self, spec: Spec, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Write down what became of all frames, and put them into shards if that is asked for.

        Raises
        ------
        OSError
            When it cannot be written.
        """
        store, layout = ZarrStore(self._path, run.uuid), self._layout(spec)
        scratches = [store.scratch(rank) for rank in range(place.ranks)]
        if not store.is_ended:  # else by a worker that died before it could say so
            columns = [name for name, _ in spec.columns]
            saved = store.frames(layout.name)
            contents = of_frames(told(scratches, run.uuid, columns), saved)
            count = max(-(-run.nb_frames // spec.nb_merged), max(saved, default=-1) + 1)
            status, causes = saved_fates(contents, run.ledger, count, spec.nb_merged)
            fates = Fates.of(contents, status, causes)
            about = _about(run, place)
            documents = layout.documents(count, about, fates, store.has_invalid)
            store.end(documents, scratches[place.rank])
        store.forget()
        if self.shard and store.frames(layout.name):
            shard_frames(self._path, self.shard)

    def _layout(self, spec: Spec) -> Layout:
        has_bands = self.nb_dimensions == "dim_4d" or len(spec.bands) > 1
        return Layout(spec, self.compression, has_bands)


class ZarrWriter:
    """One worker's part: compresses and writes in its callers' threads, each frame by itself."""

    def __init__(self, writer: FrameWriter, layout: Layout, path: Path) -> None:
        self._writer, self._layout = writer, layout
        self._encode = chunk_encoder(layout.compression)
        self._frames, self._invalid = path / layout.name, path / INVALID

    def encode(self, frames: Frames) -> FrameBlock:
        """Compress each frame, all its bands together."""
        files, nbytes = list[FrameFile](), 0
        for number, pixels in zip(frames.numbers.tolist(), frames.pixels, strict=True):
            key = self._layout.key(number)
            if (lacking := frames.invalid.get(number)) is not None:
                self._invalid.mkdir(exist_ok=True)
                mask = self._encode(np.broadcast_to(lacking, pixels.shape))
                files.append(FrameFile.of(number, f"{self._invalid}/{key}", mask))
            chunk = self._encode(pixels)
            files.append(FrameFile.of(number, f"{self._frames}/{key}", chunk))
            nbytes += len(chunk)
        return FrameBlock(line_of(frames), files, nbytes)

    def write(self, encoded: list[FrameBlock]) -> None:
        """Put the frames in their places."""
        self._writer.write(encoded)

    def close(self) -> dict[str, Any]:
        """End."""
        self._writer.close()
        return {}


def _about(run: RunRecord, place: Place) -> dict[str, Any]:
    """Return what is known of a run, as the store's attributes."""
    return {
        "uuid": run.uuid,
        "run_state": run.state,
        "error": run.error,
        "node": place.node,
        "start_time": iso(run.started),
        "end_time": iso(run.ended),
        "parameters": run.parameters,
        "detector": run.detector,
        "metadata": run.metadata,
        "processors": run.workers,
        "receivers": run.receivers,
        "failures": run.ledger.failures.lines(),
    }
