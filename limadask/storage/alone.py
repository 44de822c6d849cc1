"""One writer at a time, among all threads and processes that write master files in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 60.0
"""Seconds that the writers before may take."""
_LOOK = 0.01
_here = threading.Lock()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until nobody else is here, and keep others out.

    Two runs that end together may add to one master, and each reads what the other is about to
    replace. Where a file system knows no locks of folders, only this process is kept out.

    Raises
    ------
    TimeoutError
        When others take too long.
    """
    deadline = time.monotonic() + PATIENCE
    if not _here.acquire(timeout=PATIENCE):
        raise _late(folder)
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            while not _locked(handle):
                if time.monotonic() > deadline:
                    raise _late(folder)
                time.sleep(_LOOK)
            yield
        finally:
            os.close(handle)
    finally:
        _here.release()


def _locked(handle: int) -> bool:
    """Try to take the lock; it goes with the handle, also when the process dies."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # such as over NFS
        return True
    return True


def _late(folder: Path) -> TimeoutError:
    text = f"others have been writing master files there for {PATIENCE:.0f} s"
    return TimeoutError(errno.ETIMEDOUT, text, str(folder))
