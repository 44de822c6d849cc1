"""A limit of memory for some processes, by the kernel's control groups."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from waiting import until

ROOT = Path("/sys/fs/cgroup")


class MemoryGroup:
    """Processes that have so much memory together, page cache included, and no more.

    Parameters
    ----------
    folder:
        Of the group.
    version:
        Of the kernel's control groups.
    """

    def __init__(self, folder: Path, version: int) -> None:
        self._folder, self._version = folder, version

    def limit(self, nbytes: int) -> None:
        """Set the limit."""
        name = "memory.limit_in_bytes" if self._version == 1 else "memory.max"
        (self._folder / name).write_text(str(nbytes))

    def add(self, process: int) -> None:
        """Count from here on what a process takes; skip where that cannot be."""
        try:
            (self._folder / "cgroup.procs").write_text(str(process))
        except OSError as error:
            pytest.skip(f"memory cannot be limited here: {error}")

    @property
    def killed(self) -> int:
        """How many processes the kernel has ended for want of memory."""
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        told = (self._folder / name).read_text().split()
        return int(told[told.index("oom_kill") + 1])

    @property
    def reached(self) -> int:
        """How often the limit was reached, and memory had to be freed before there was more."""
        if self._version == 1:
            return int((self._folder / "memory.failcnt").read_text())
        events = (self._folder / "memory.events").read_text().split()
        return int(events[events.index("max") + 1])


@contextmanager
def memory_group(nbytes: int) -> Iterator[MemoryGroup]:
    """Make a group, and take it away when its processes have ended; skip where that cannot be."""
    version = 1 if (ROOT / "memory").is_dir() else 2
    folder = (ROOT / "memory" if version == 1 else ROOT) / f"limadask-test-{os.getpid()}"
    try:
        folder.mkdir()
        group = MemoryGroup(folder, version)
        group.limit(nbytes)
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"memory cannot be limited here: {error}")
    try:
        yield group
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()
