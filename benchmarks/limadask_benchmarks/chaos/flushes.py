"""Flushes of data files, told as they begin, so that a kill can strike within one."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import h5py

from limadask.storage.data_file import DataFile

NAME = "flushes"
STEP = 5e-4
"""Seconds by which each dataset's flush is put off: all would be over before a kill arrives."""
_flush, _flush_dataset = DataFile.flush, h5py.Dataset.flush


class Flushes:
    """Hears of flushes through a named pipe.

    Parameters
    ----------
    folder:
        Where the data files go.
    """

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / NAME)
        self._pipe = os.open(folder / NAME, os.O_RDWR | os.O_NONBLOCK)

    def wait(self, process: int | None, timeout: float) -> bool:
        """Return as the next flush begins; tell whether there was one in time.

        Parameters
        ----------
        process:
            The process that flushes; None for any.
        timeout:
            Seconds to wait at most.
        """
        self._read()  # of earlier ones
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            select.select([self._pipe], [], [], left)
            told = self._read()
            if told and process in (None, *told):
                return True
        return False

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)

    def _read(self) -> list[int]:
        """Return the processes that have begun to flush since the last call."""
        try:
            return [int(word) for word in os.read(self._pipe, 1 << 16).split()]
        except BlockingIOError:
            return []


def tell_flushes(folder: Path) -> None:
    """Let this process tell whenever it begins to flush a data file, and take its time for it."""
    pipe = os.open(folder / NAME, os.O_WRONLY | os.O_NONBLOCK)

    def flush(self: DataFile) -> None:
        os.write(pipe, f"{os.getpid()}\n".encode())
        _flush(self)

    def flush_dataset(self: h5py.Dataset) -> None:
        time.sleep(STEP)
        _flush_dataset(self)

    DataFile.flush = flush  # type: ignore[method-assign]
    h5py.Dataset.flush = flush_dataset
