"""Save frames as NeXus/HDF5."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from limadask.errors import ConfigError
from limadask.frames import Spec
from limadask.storage import (
    Compression,
    Digests,
    FileSeries,
    FrameLayout,
    Layout,
    ProductLayout,
    RunLayout,
    SparseLayout,
    check_products,
    digest,
    files_of_run,
    next_number,
    read_contents,
    series_files,
    unreadable,
    write_manifest,
    write_master,
)
from limadask.task import Opening, Place, Products, Recovered, RunRecord, Sink, Writer
from limadask_tasks.folder_saver import FolderSaver
from limadask_tasks.hdf5_writers import (
    FrameWriter,
    Hdf5Writer,
    ProductWriter,
    RunWriter,
    SparseWriter,
)


class SaveHdf5(FolderSaver):
    """Save frames: files ``{prefix}_{rank}_{number:05d}.h5``, joined by ``{prefix}_master.h5``.

    Each worker that processes writes files of its own. One band is saved as ``(frame, y, x)``,
    several as ``(frame, band, y, x)``; absent frames read as the fill value. After a node that
    yields by-products it saves these.
    """

    joins_parts: ClassVar[bool] = True
    takes_products: ClassVar[bool] = True
    takes_sparse: ClassVar[bool] = True
    needs_contiguous: ClassVar[bool] = True

    others: ClassVar[str] = "overwrite or append"

    entry: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] = "entry"
    """Name of the NXentry. Savers of equal folder and prefix write the same files, each an entry
    of its own."""
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

    def plan(self, spec: Spec | Products) -> None:
        """Find what cannot be saved of by-products."""
        if isinstance(spec, Products):
            check_products(spec)

    @property
    def may_keep(self) -> bool:
        """Whether frames are written as they are."""
        return self.compression == "none"

    def path(self) -> str:
        """Return the path of the master file."""
        return str(self._master)

    def check_beside(self, other: Sink) -> None:
        """Find what keeps it from writing the same files as another saver."""
        if not isinstance(other, SaveHdf5):
            return super().check_beside(other)
        if other.entry == self.entry:
            raise ConfigError(
                "saves the same entry of the same files", field="entry", value=self.entry,
                allowed="another entry, folder or prefix",
            )  # fmt: skip
        for name in ("file_exists_policy", "nb_frames_per_file", "manifest"):
            mine, wanted = getattr(self, name), getattr(other, name)
            if mine != wanted:
                raise ConfigError(
                    f"must have the same {name}, since it writes the same files", field=name,
                    value=mine, allowed=[wanted],
                )  # fmt: skip
        return None

    @property
    def joined(self) -> tuple[Path, Path]:
        """Paths of the files that are made of all workers' files."""
        return self._master, self._manifest

    @property
    def _master(self) -> Path:
        return Path(self.folder) / f"{self.prefix}_master.h5"

    @property
    def _manifest(self) -> Path:
        return Path(self.folder) / f"{self.prefix}_manifest.sha256"

    def taken(self) -> Path | None:
        """Return a file of an older run that is in the way, if there is one."""
        series = series_files(Path(self.folder), self.prefix)
        files = [path for paths in series.values() for path in paths]
        return next((path for path in (*self.joined, *files) if path.exists()), None)

    def open(self, spec: Spec | Products, place: Place) -> Writer:
        """Begin this worker's first file."""
        return _opened([Opening(self, spec, place)])[0]

    @classmethod
    def open_together(cls, openings: Sequence[Opening]) -> list[Writer]:
        """Begin this worker's first file, with an entry for each saver."""
        return _opened(openings)

    def recover(self, spec: Spec | Products, place: Place, rank: int) -> Recovered | None:
        """Return the frames in the files of a worker that died."""
        if isinstance(spec, Products) and spec.running is not None:
            return None  # what a worker knew of the whole run goes with it
        contents = read_contents(self._files(rank, place.uuid), entry=self.entry)
        return Recovered(contents.numbers, contents.status, contents.causes)

    def join(
        self, spec: Spec | Products, place: Place, parts: list[dict[str, Any]], run: RunRecord
    ) -> None:
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
        if isinstance(spec, Products) and spec.running is not None:
            orphans = []  # what was taken in twice cannot be told from what was not
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
                entry=self.entry,
            )
        except OSError as error:
            text = f"{place.node!r} has no master file, `limadask recover` makes it: "
            raise OSError(error.errno, text + str(error.strerror), error.filename) from error
        if gone := unreadable([Path(file) for file in files], self.entry):
            raise OSError(f"{place.node!r} has lost what it had saved: {'; '.join(gone)}")
        digests = [part["digests"] for part in parts]
        if self.manifest != "none" and (not parts or any(one is not None for one in digests)):
            self._write_manifest(files, [one for one in digests if one is not None])

    def _write_manifest(self, files: Sequence[str], known: Sequence[dict[str, str]]) -> None:
        """Write the checksums: those that the writers know, and those of dead ones' files."""
        told = {path: value for one in known for path, value in one.items()}
        digests = {Path(path).name: told.get(path) or digest(path) for path in files}
        write_manifest(self._manifest, digests, self._master)

    def _files(self, rank: int, uuid: str) -> list[Path]:
        """Return what a worker has written in this acquisition, not in one before it."""
        files = series_files(Path(self.folder), self.prefix).get(rank, [])
        return files_of_run(files, uuid, self.entry)


def _opened(openings: Sequence[Opening]) -> list[Writer]:
    """Begin the first file of savers that write the same ones."""
    savers = [one.sink for one in openings if isinstance(one.sink, SaveHdf5)]
    given = list(zip(savers, openings, strict=True))
    first, place = savers[0], openings[0].place
    folder = Path(first.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if first.file_exists_policy == "overwrite":
            _clear(first, place)
        layouts = [_layout(saver, one.spec, one.place) for saver, one in given]
        number = next_number(folder, first.prefix, place.rank)
        digests = None if first.manifest == "none" else Digests()
        series = FileSeries(
            folder, first.prefix, place.rank, layouts, first.nb_frames_per_file, number, digests
        )
    except OSError as error:
        raise first.unwritable(error) from error
    return [_writer(saver, one.spec, series, place.rank) for saver, one in given]


def _layout(saver: SaveHdf5, spec: Spec | Products, place: Place) -> Layout:
    """Return what a saver's entry is made for."""
    if isinstance(spec, Products):
        kind = ProductLayout if spec.running is None else RunLayout
        return kind(spec, place, saver.entry)
    always_4d = saver.nb_dimensions == "dim_4d"
    frames = SparseLayout if spec.is_sparse else FrameLayout
    return frames(spec, saver.compression, always_4d, place, saver.entry)


def _writer(
    saver: SaveHdf5, spec: Spec | Products, series: FileSeries, rank: int
) -> FrameWriter | ProductWriter:
    """Return what writes a saver's entry."""
    if isinstance(spec, Products):
        kind = ProductWriter if spec.running is None else RunWriter
        return kind(series, rank, saver.entry)
    frames = SparseWriter if spec.is_sparse else Hdf5Writer
    return frames(series, rank, saver.entry, saver.compression)


def _clear(saver: SaveHdf5, place: Place) -> None:
    """Remove an older run's files: of this rank, and once those of ranks not used now."""
    for rank, files in series_files(Path(saver.folder), saver.prefix).items():
        if rank == place.rank or (place.rank == 0 and rank >= place.ranks):
            for path in files:
                path.unlink()
    if place.rank == 0:
        for path in saver.joined:
            path.unlink(missing_ok=True)
