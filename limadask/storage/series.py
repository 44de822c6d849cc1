"""The HDF5 files of one writing worker: appended block by block, readable after any crash."""

from __future__ import annotations

import errno
import logging
import re
import threading
from collections.abc import Sequence
from pathlib import Path

from limadask.errors import SaveError
from limadask.storage.abandoning import frame_numbers, plain_error
from limadask.storage.data_file import DataFile
from limadask.storage.entry import ENTRY, Layout, Part
from limadask.storage.manifest import Digests

logger = logging.getLogger(__name__)
_NAME = re.compile(r"(.+)_(\d+)_(\d{5,})\.h5")


class FileSeries:
    """Appends frames to files ``{prefix}_{rank}_{number:05d}.h5``, all entries to the same.

    Everything is created before SWMR mode starts, and what was written is flushed before
    :meth:`append` returns: from then on a killed process loses none of it (its page cache lives
    on; a power failure does not spare it).

    Parameters
    ----------
    folder, prefix, rank:
        Where the files go.
    layouts:
        What each entry is made for.
    nb_frames_per_file:
        Frames of an entry after which the next file is begun.
    first_number:
        Number of the first file.
    digests:
        What computes the checksum of each file when it is finished.
    """

    def __init__(
        self,
        folder: Path,
        prefix: str,
        rank: int,
        layouts: Sequence[Layout],
        nb_frames_per_file: int,
        first_number: int = 0,
        digests: Digests | None = None,
    ) -> None:
        self._folder, self._prefix, self._rank, self._layouts = folder, prefix, rank, layouts
        self._limit, self._next = nb_frames_per_file, first_number
        self._lock, self._open = threading.Lock(), {one.name for one in layouts}
        self._file: DataFile | None = None
        self._digests = digests
        self.paths: list[str] = []
        self.begin()

    def append(self, parts: Sequence[Part], entry: str = ENTRY) -> None:
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
            if entry not in self._open:
                raise _late(parts, self._folder / self._prefix)
            touched = [] if self._file is None else [self._file]
            try:
                for part in parts:
                    done = 0
                    while done < len(part.numbers):
                        file = self._file
                        if file is None or file.count(entry) == self._limit:
                            file = self.begin()
                            touched.append(file)
                        done += file.append(entry, part, done, self._limit)
                if self._file is not None:
                    self._file.flush()
            except Exception as error:
                wanted = [number for part in parts for number in part.numbers.tolist()]
                failed = self._failed(error, wanted, touched, entry)
                if failed.numbers:
                    raise failed from error
                logger.warning("all was written, but not without an error: %s", failed)

    def begin(self) -> DataFile:
        """Close the current file, if any, and begin the next."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._digests is not None:
            self._digests.add(self.paths)
        path = self._path()
        try:
            self._file = DataFile(path, self._layouts)
        except Exception as error:
            raise plain_error(error, path) from error
        self.paths.append(str(path))
        self._next += 1
        return self._file

    def close(self, entry: str = ENTRY) -> dict[str, str] | None:
        """Close an entry, and with the last of them the last file; may be called again.

        A file that cannot be closed is let go of: all it holds was flushed before.

        Returns
        -------
        dict or None
            Of the last entry, the checksums by path; None of others, which need not wait for them.
        """
        with self._lock:
            self._open.discard(entry)
            if self._open:
                return None
            file, self._file = self._file, None
            if file is not None:
                try:
                    file.close()
                except Exception as error:
                    logger.warning("%s could not be closed in order: %s", file.path, error)
                    file.abandon()
        if self._digests is None:
            return {}
        self._digests.add(self.paths)
        return self._digests.close()

    def _failed(
        self, error: Exception, wanted: list[int], touched: list[DataFile], entry: str
    ) -> SaveError:
        """Let go of the file that failed; tell which of the ``wanted`` frames are in none."""
        file, self._file = self._file, None
        safe = set() if file is None else file.abandon().get(entry, set())
        for other in touched:
            if other is not file:
                safe |= frame_numbers(other.path, entry)
        path = self._path() if file is None else file.path
        if file is not None and not file.is_safe and not file.path.exists():
            self.paths.remove(str(file.path))
            self._next -= 1
        plain = plain_error(error, path)
        failed = SaveError(plain.errno, plain.strerror, plain.filename)
        failed.numbers = tuple(number for number in wanted if number not in safe)
        return failed

    def _path(self) -> Path:
        return self._folder / f"{self._prefix}_{self._rank}_{self._next:05d}.h5"


def _late(parts: Sequence[Part], path: Path) -> SaveError:
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
