"""Save frames as NeXus/HDF5."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt, field_validator

from limadask.errors import ConfigError
from limadask.frames import Frames, Spec, Status
from limadask.naming import Names, fill, has_run, next_run
from limadask.storage import (
    Chunks,
    Compression,
    Digests,
    FileSeries,
    absolute_path,
    digest,
    encoder,
    files_of_run,
    next_number,
    read_contents,
    series_files,
    unreadable,
    write_manifest,
    write_master,
)
from limadask.task import Place, Recovered, RunRecord, Sink

_FOLDER = "a folder that can be made and written"


class SaveHdf5(Sink):
    """Save frames: files ``{prefix}_{rank}_{number:05d}.h5``, joined by ``{prefix}_master.h5``.

    Each worker that processes writes files of its own. One band is saved as ``(frame, y, x)``,
    several as ``(frame, band, y, x)``; absent frames read as the fill value.
    """

    joins_parts: ClassVar[bool] = True

    folder: str
    """Folder, made if it is not there."""
    prefix: str = "limadask"
    """Begin of the files' names, where fields may stand: ``{sample}_{run:04d}``."""
    compression: Compression = "bshuf_lz4"
    """How frames are compressed; ``blosc_zstd`` makes the smallest files."""
    nb_frames_per_file: PositiveInt = 1000
    """Frames after which a worker begins its next file."""
    nb_dimensions: Literal["dim_3d_or_4d", "dim_4d"] = "dim_3d_or_4d"
    """``dim_4d`` keeps the band axis also when there is one band."""
    file_exists_policy: Literal["abort", "overwrite", "append"] = "abort"
    """When files of this prefix exist: refuse, replace them, or add this run to the master as a
    further entry."""

    manifest: Literal["none", "sha256"] = "none"
    """Whether ``{prefix}_manifest.sha256`` has the checksums of all files, for ``sha256sum -c``."""
    vetoed: Literal["skip", "keep"] = "skip"
    """Whether frames that a veto before this node refused are left out, or saved all the same."""

    @field_validator("prefix")
    def _plain(cls, value: str) -> str:  # noqa: N805 - pydantic's class method
        if not value or Path(value).name != value:
            raise ConfigError(
                "a prefix is the begin of a file name",
                value=value,
                allowed="a name without folders",
            )
        return value

    def absolute(self, folder: Path) -> Self:
        """Return the same task with an absolute folder."""
        return self.replace(folder=absolute_path(self.folder, folder, "folder"))

    def next_run(self, names: Names) -> int:
        """Return the first number that no run in the folder has, under this prefix."""
        folder = Path(self.folder)
        if not has_run(self.prefix) or not folder.is_dir():
            return 1
        return next_run(self.prefix, names, (path.name for path in folder.iterdir()))

    def named(self, names: Names) -> Self:
        """Return the same task with all fields in its prefix filled in."""
        return self.replace(prefix=fill(self.prefix, names))

    def path(self) -> str:
        """Return the path of the master file."""
        return str(self._master)

    @property
    def skips_vetoed(self) -> bool:
        """Whether vetoed frames are left out."""
        return self.vetoed == "skip"

    @property
    def _master(self) -> Path:
        return Path(self.folder) / f"{self.prefix}_master.h5"

    @property
    def _manifest(self) -> Path:
        return Path(self.folder) / f"{self.prefix}_manifest.sha256"

    def check(self) -> None:
        """Look whether the folder can be written and no file is in the way."""
        folder = Path(self.folder)
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{existing} is no folder that can be written",
                field="folder",
                value=self.folder,
                allowed=_FOLDER,
            )
        if self.file_exists_policy == "abort":
            files = [path for paths in series_files(folder, self.prefix).values() for path in paths]
            taken = next(
                (path for path in (self._master, self._manifest, *files) if path.exists()), None
            )
            if taken is not None:
                raise ConfigError(
                    f"{taken} exists",
                    field="file_exists_policy",
                    value=self.file_exists_policy,
                    allowed="another folder or prefix, or the policy overwrite or append",
                )

    def open(self, spec: Spec, place: Place) -> Hdf5Writer:
        """Begin this worker's first file."""
        folder = Path(self.folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if self.file_exists_policy == "overwrite":
                self._clear(folder, place)
            first = next_number(folder, self.prefix, place.rank)
            series = FileSeries(
                folder,
                self.prefix,
                place.rank,
                spec,
                self.compression,
                self.nb_frames_per_file,
                first,
                self.nb_dimensions == "dim_4d",
                place,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot be written: {error}", field="folder", value=self.folder, allowed=_FOLDER
            ) from error
        digests = None if self.manifest == "none" else Digests()
        return Hdf5Writer(series, self.compression, place.rank, digests)

    def recover(self, spec: Spec, place: Place, rank: int) -> Recovered:
        """Return the frames in the files of a worker that died."""
        contents = read_contents(self._files(rank, place.uuid))
        return Recovered(contents.numbers, contents.status, contents.causes)

    def join(self, spec: Spec, place: Place, parts: list[dict[str, Any]], run: RunRecord) -> None:
        """Write the master file over the files of all ranks, of dead workers too.

        Raises
        ------
        OSError
            When it cannot be written, or a data file is gone that frames had been saved in. The
            master is written over what is left then.
        """
        known = {path for part in parts for path in part["files"]}
        ranks = {part["rank"] for part in parts}
        orphans = [
            str(path)
            for rank in range(place.ranks)
            if rank not in ranks
            for path in self._files(rank, place.uuid)
        ]
        files = sorted(known) + orphans
        try:
            write_master(
                self._master,
                place.node,
                spec,
                files,
                run,
                always_4d=self.nb_dimensions == "dim_4d",
                mosaic=place.mosaic,
            )
        except OSError as error:
            text = f"{place.node!r} has no master file, `limadask recover` makes it: "
            raise OSError(error.errno, text + str(error.strerror), error.filename) from error
        if gone := unreadable([Path(file) for file in files]):
            raise OSError(f"{place.node!r} has lost what it had saved: {'; '.join(gone)}")
        if self.manifest != "none":
            self._write_manifest(files, parts)

    def _write_manifest(self, files: Sequence[str], parts: Sequence[dict[str, Any]]) -> None:
        """Write the checksums: those that the writers know, and those of dead ones' files."""
        known = {path: value for part in parts for path, value in part["digests"].items()}
        digests = {Path(path).name: known.get(path) or digest(path) for path in files}
        write_manifest(self._manifest, digests, self._master)

    def _files(self, rank: int, uuid: str) -> list[Path]:
        """Return what a worker has written in this acquisition, not in one before it."""
        files = series_files(Path(self.folder), self.prefix).get(rank, [])
        return files_of_run(files, uuid)

    def _clear(self, folder: Path, place: Place) -> None:
        """Remove an older run's files: of this rank, and once those of ranks not used now."""
        for rank, files in series_files(folder, self.prefix).items():
            if rank == place.rank or (place.rank == 0 and rank >= place.ranks):
                for path in files:
                    path.unlink()
        if place.rank == 0:
            self._master.unlink(missing_ok=True)
            self._manifest.unlink(missing_ok=True)


class Hdf5Writer:
    """One worker's part: compresses in its callers' threads, writes under one lock."""

    def __init__(
        self,
        series: FileSeries,
        compression: Compression,
        rank: int,
        digests: Digests | None = None,
    ) -> None:
        self._series, self._encode, self._rank = series, encoder(compression), rank
        self._digests = digests
        self.codec = compression
        """How its chunks are compressed: those that the detector has made so are written as are."""

    def encode(self, frames: Frames) -> Chunks:
        """Compress each band of each frame."""
        chunks: Sequence[bytes | NDArray[np.uint8]]
        if frames.packed is not None:
            chunks = frames.packed.chunks()  # written before the block is gone: no copy
        else:
            chunks = [self._encode(image) for frame in frames.pixels for image in frame]
        shape = frames.pixels.shape[1:]
        invalid = {
            number: [self._encode(band) for band in np.broadcast_to(mask, shape).astype(np.uint8)]
            for number, mask in frames.invalid.items()
        }
        odd = frames.numbers[frames.status != Status.PRESENT].tolist()
        causes = {number: frames.causes[number] for number in odd if number in frames.causes}
        return Chunks(
            frames.numbers, frames.timestamps, frames.status, chunks, invalid, causes, frames.values
        )

    def write(self, encoded: list[Chunks]) -> None:
        """Append and flush."""
        self._series.append(encoded)
        if self._digests is not None and len(self._series.paths) > 1:
            self._digests.add(self._series.paths[:-1])  # the last one still grows

    def close(self) -> dict[str, Any]:
        """Close the files and name them."""
        self._series.close()
        digests: dict[str, str] = {}
        if self._digests is not None:
            self._digests.add(self._series.paths)
            digests = self._digests.close()
        return {"rank": self._rank, "files": self._series.paths, "digests": digests}
