"""Looks at processes all the time: memory, file descriptors, shared memory, threads."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from limadask_benchmarks.results import Figure
from limadask_benchmarks.soak.trend import WARM, Trend

MIB = 1 << 20
LEAST = {"memory": 1.0, "shared": 1.0, "descriptors": 2.0, "segments": 0.5, "threads": 1.0}
"""Growth that counts for nothing: MiB, or how many."""
RECORDS = {
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.system-monitor.log-length": 100,
}
"""Settings of Dask: its records for developers fill up for an hour, and would look like growth."""
OURS = "limadask"
"""What the names of our shared memory begin with."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process has.

    Parameters
    ----------
    memory:
        MiB of the process; neither program code, nor shared memory. Pages that it has from the
        server which forked it count from the beginning: they become its own one by one.
    shared:
        MiB of shared memory of ours that it has open, of the pages that are there.
    descriptors, threads:
        How many there are.
    segments:
        Shared memory of ours that it has open.
    """

    memory: float
    shared: float
    descriptors: int
    segments: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Sample:
        """Look at a process.

        Raises
        ------
        OSError
            When it is gone.
        """
        process = Path(f"/proc/{pid}")
        lines = (process / "smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
        memory = sum(int(sizes[name]) for name in ("Anonymous", "Swap"))
        opened = _opened(process / "fd")
        segments = [path for path, name in opened.items() if name.startswith(f"/memfd:{OURS}")]
        threads = len(os.listdir(process / "task"))
        return cls(memory / 1024, _held(segments) / MIB, len(opened), len(segments), threads)


class Watch:
    """Samples of some processes and of all their children, one after the other.

    Parameters
    ----------
    processes:
        Their numbers, by name.
    interval:
        Seconds between two looks, while it is entered.
    """

    def __init__(self, processes: Mapping[str, int], interval: float = 1.0) -> None:
        self._processes, self._interval = dict(processes), interval
        self._times: dict[str, list[float]] = defaultdict(list)
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join(60)

    def now(self) -> dict[str, Sample]:
        """Look at all of them once."""
        found = {}
        for name, pid in self._everyone().items():
            with suppress(OSError, KeyError):  # it has just ended
                found[name] = Sample.of(pid)
        return found

    def look(self) -> None:
        """Take a sample of each."""
        for name, sample in self.now().items():
            self._times[name].append(time.monotonic())
            self._samples[name].append(sample)

    def trends(self, kind: str, warm: float = WARM) -> dict[str, Trend]:
        """Return how something of a :class:`Sample` has grown, by process.

        Those that were there for too short a time are left out.
        """
        found = {}
        for name, samples in self._samples.items():
            with suppress(ValueError):
                values = [getattr(one, kind) for one in samples]
                found[name] = Trend.of(self._times[name], values, warm)
        return found

    def figures(self, what: str, warm: float = WARM) -> list[Figure]:
        """Return the growth of each process's memory, and the worst of everything else."""
        found = []
        for kind, least in LEAST.items():
            trends = sorted(self.trends(kind, warm).items())
            each = [one.figure(f"{what}_{kind}_{name}", least) for name, one in trends]
            found += each if kind == "memory" else [min(each, key=lambda one: one.ratio)]
        return found

    def _everyone(self) -> dict[str, int]:
        found = dict(self._processes)
        for name, pid in self._processes.items():
            with suppress(psutil.Error):
                for number, child in enumerate(psutil.Process(pid).children(recursive=True)):
                    if child.pid not in self._processes.values():
                        found[f"{name}_child_{number}"] = child.pid
        return found

    def _look_on(self) -> None:
        while not self._over.wait(self._interval):
            self.look()


def left_behind(processes: Collection[int]) -> set[str]:
    """Return files of ours in shared memory, and what these processes have claimed and left."""
    claims = Path(tempfile.gettempdir()) / f"{OURS}-claims-{os.getuid()}"
    claimed = (path for number in processes for path in claims.glob(f"{number}-*"))
    return {str(path) for path in (*Path("/dev/shm").glob(f"*{OURS}*"), *claimed)}  # noqa: S108


def _opened(folder: Path) -> dict[Path, str]:
    """Return what a process has open, by the descriptors' paths."""
    found = {}
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            found[path] = os.readlink(path)
    return found


def _held(paths: Collection[Path]) -> int:
    """Return the bytes of files in memory that are there, each counted once."""
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            about = path.stat()
            found[about.st_ino] = about.st_blocks * 512
    return sum(found.values())
