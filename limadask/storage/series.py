"""The HDF5 files of one writing worker: appended block by block, readable after any crash."""

from __future__ import annotations

import errno
import logging
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from limadask.errors import SaveError
from limadask.frames import Spec
from limadask.storage.abandoning import frame_numbers, plain_error
from limadask.storage.codec import Compression
from limadask.storage.data_file import DETECTOR, Chunks, DataFile
from limadask.task import Place

logger = logging.getLogger(__name__)
_NAME = re.compile(r"(.+)_(\d+)_(\d{5,})\.h5")


class FileSeries:
    """Appends frames to files ``{prefix}_{rank}_{number:05d}.h5``.

    Everything is created before SWMR mode starts, and what was written is flushed before
    :meth:`append` returns: from then on a killed process loses none of it (its page cache lives
    on; a power failure does not spare it).

    Parameters
    ----------
    folder, prefix, rank:
        Where the files go.
    spec:
        The frames.
    compression:
        How their chunks are compressed.
    nb_frames_per_file:
        Frames after which the next file is begun.
    first_number:
        Number of the first file.
    always_4d:
        Whether one band keeps its axis.
    place:
        The acquisition and its node; files say whose they are, so that a master can be made of
        them alone.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        rank: int,
        spec: Spec,
        compression: Compression,
        nb_frames_per_file: int,
        first_number: int = 0,
        always_4d: bool = False,
        place: Place | None = None,
    ) -> None:
        self._folder, self._prefix, self._rank, self._spec = folder, prefix, rank, spec
        self._place = place or Place("")
        self._compression, self._limit, self._next = compression, nb_frames_per_file, first_number
        self._has_band_axis = always_4d or len(spec.bands) > 1
        self._lock, self._is_closed = threading.Lock(), False
        self._file: DataFile | None = None
        self.paths: list[str] = []
        self.begin()

    def append(self, parts: Sequence[Chunks]) -> None:
        """Write encoded frames; on return they are safe.

        The next call begins a file of its own after an error, so that frames are saved again
        once there is room.

        Raises
        ------
        SaveError
            When some cannot be written; the others of these, and all before, are safe. None is
            after :meth:`close`: its master would not know of a further file.
        """
        with self._lock:
            if self._is_closed:
                raise _late(parts, self._folder / self._prefix)
            touched = [] if self._file is None else [self._file]
            try:
                for part in parts:
                    done = 0
                    while done < len(part.numbers):
                        file = self._file
                        if file is None or file.count == self._limit:
                            file = self.begin()
                            touched.append(file)
                        done += file.append(part, done, self._limit)
                if self._file is not None:
                    self._file.flush()
            except Exception as error:
                wanted = [number for part in parts for number in part.numbers.tolist()]
                failed = self._failed(error, wanted, touched)
                if failed.numbers:
                    raise failed from error
                logger.warning("all was written, but not without an error: %s", failed)

    def begin(self) -> DataFile:
        """Close the current file, if any, and begin the next."""
        if self._file is not None:
            self._file.close()
            self._file = None
        path = self._path()
        try:
            self._file = DataFile(
                path, self._spec, self._compression, self._has_band_axis, self._place
            )
        except Exception as error:
            raise plain_error(error, path) from error
        self.paths.append(str(path))
        self._next += 1
        return self._file

    def close(self) -> None:
        """Close the last file; may be called again.

        A file that cannot be closed is let go of: all it holds was flushed before.
        """
        with self._lock:
            file, self._file, self._is_closed = self._file, None, True
            if file is not None:
                try:
                    file.close()
                except Exception as error:
                    logger.warning("%s could not be closed in order: %s", file.path, error)
                    file.abandon()

    def _failed(self, error: Exception, wanted: list[int], touched: list[DataFile]) -> SaveError:
        """Let go of the file that failed; tell which of the ``wanted`` frames are in none."""
        file, self._file = self._file, None
        safe = set() if file is None else file.abandon()
        for other in touched:
            if other is not file:
                safe |= frame_numbers(other.path, DETECTOR)
        path = self._path() if file is None else file.path
        if file is not None and not file.safe and not file.path.exists():
            self.paths.remove(str(file.path))
            self._next -= 1
        plain = plain_error(error, path)
        failed = SaveError(plain.errno, plain.strerror, plain.filename)
        failed.numbers = tuple(number for number in wanted if number not in safe)
        return failed

    def _path(self) -> Path:
        return self._folder / f"{self._prefix}_{self._rank}_{self._next:05d}.h5"


def _late(parts: Sequence[Chunks], path: Path) -> SaveError:
    late = SaveError(errno.EBADF, "The files of this acquisition are closed", str(path))
    late.numbers = tuple(number for part in parts for number in part.numbers.tolist())
    return late


def series_files(folder: Path, prefix: str) -> dict[int, list[Path]]:
    """Return the data files of a prefix, in order, by rank."""
    return all_series(folder).get(prefix, {})


def all_series(folder: Path) -> dict[str, dict[int, list[Path]]]:
    """Return all data files of a folder, in order, by prefix and rank."""
    matches = [
        (match, path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _NAME.fullmatch(path.name))
    ]
    found = sorted((match[1], int(match[2]), int(match[3]), path) for match, path in matches)
    series: dict[str, dict[int, list[Path]]] = {}
    for prefix, rank, _, path in found:
        series.setdefault(prefix, {}).setdefault(rank, []).append(path)
    return series


def next_number(folder: Path, prefix: str, rank: int) -> int:
    """Return the number after the last file of a rank."""
    files = series_files(folder, prefix).get(rank, [])
    return 1 + max((int(path.stem.rpartition("_")[2]) for path in files), default=-1)
