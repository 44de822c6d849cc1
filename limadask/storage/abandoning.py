"""Let go of an HDF5 file that cannot be written any more, as if its writer had been killed.

HDF5 cannot close such a file: what it holds in memory cannot be flushed. A failed close keeps the
file open and its objects half gone, and the process crashes when they are collected. So the file's
descriptor is pointed elsewhere first. Then HDF5 closes without an error, and the file keeps what
had been flushed before.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import tempfile
from pathlib import Path

import h5py
import numpy as np

from limadask.storage.entry import table_of
from limadask.storage.recovery import recover
from limadask.storage.rows import rows_of

logger = logging.getLogger(__name__)
_NUMBER = re.compile(r"errno = (\d+)")
_kept: list[object] = []
"""What even so could not be closed: kept, since collecting it would crash."""


def abandon(file: h5py.File) -> None:
    """Close a file that is not to be written any more, and make it readable."""
    if not file:
        return
    descriptor = file.id.get_vfd_handle()
    own = os.dup(descriptor)  # works also where the folder is gone or became read-only
    try:
        elsewhere = _elsewhere()
        try:
            os.dup2(elsewhere, descriptor, inheritable=False)
        finally:
            os.close(elsewhere)
        try:
            file.close()
        except Exception:
            logger.exception("an HDF5 file could not be let go of")
            _kept.append(file)
        try:
            recover(own)
        except OSError as error:
            logger.warning("a data file stays marked as open for writing: %s", error)
    finally:
        os.close(own)


def frame_numbers(path: str | Path, entry: str) -> set[int]:
    """Return the frames that a closed file holds in an entry, none where it cannot be read."""
    try:
        with h5py.File(path, "r") as file:
            group = file[entry]
            numbers = np.asarray(table_of(group)["frame_number"][: rows_of(group)])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        logger.warning("%s cannot be read: %s", path, error)
        return set()
    return {int(number) for number in numbers if number >= 0}


def plain_error(error: Exception, path: str | Path) -> OSError:
    """Return what the system said, out of what HDF5 makes of it, naming the file."""
    number = getattr(error, "errno", None)
    if number is not None and error.filename:  # type: ignore[attr-defined]
        return error  # type: ignore[return-value]
    if number is None and (found := _NUMBER.search(str(error))):
        number = int(found[1])
    if number is None:
        return OSError(errno.EIO, f"{type(error).__name__}: {error}", str(path))
    return OSError(number, os.strerror(number), str(path))


def _elsewhere() -> int:
    """Return a descriptor of a file in memory, or at least of one without a name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("limadask")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
