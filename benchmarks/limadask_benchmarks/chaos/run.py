"""One run of chaos: a cluster, a client, a logger, a kill, a verdict."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

import numpy as np
import psutil

from limadask.cluster.local import ProcessCluster, process_cluster
from limadask_benchmarks.chaos.plan import NB_FRAMES, SHAPE, TOPOLOGIES, Kill
from limadask_detectors import Simulator

BOUND = 60.0
"""Seconds after which a run that has not ended hangs."""


@dataclass
class Verdict:
    """What was found.

    Parameters
    ----------
    faults:
        Kills.
    acknowledged, lost:
        Frames acknowledged before the end, and those of them that are not in the files.
    frames, nameless, wrong:
        Frames of the runs, those without status or cause, and those with wrong pixels.
    hangs:
        Runs that did not end.
    """

    faults: int = 0
    acknowledged: int = 0
    lost: int = 0
    frames: int = 0
    nameless: int = 0
    wrong: int = 0
    hangs: int = 0

    def __iadd__(self, other: Verdict) -> Self:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        return self

    def __str__(self) -> str:
        found = f"{self.acknowledged} acknowledged, {self.lost} lost"
        counts = {name: getattr(self, name) for name in ("nameless", "wrong", "hangs")}
        bad = [f"{count} {name}" for name, count in counts.items() if count]
        return ", ".join([found, *bad])


class Program:
    """A process whose lines are read as they come."""

    def __init__(self, stack: ExitStack, module: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", f"limadask_benchmarks.chaos.{module}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.lines: SimpleQueue[list[str] | None] = SimpleQueue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        stack.callback(self.end)

    def tell(self, text: str) -> None:
        """Write a line; a dead one hears nothing."""
        with suppress(BrokenPipeError):
            self.process.stdin.write(text + "\n")  # type: ignore[union-attr]
            self.process.stdin.flush()  # type: ignore[union-attr]

    def hear(self, timeout: float = BOUND) -> list[str] | None:
        """Return the next line's words; None when there will be none.

        Raises
        ------
        TimeoutError
            When there is none in time.
        """
        try:
            return self.lines.get(timeout=timeout)
        except Empty:
            raise TimeoutError("a process says nothing") from None

    def end(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _read(self) -> None:
        for line in self.process.stdout:  # type: ignore[union-attr]
            self.lines.put(line.split(maxsplit=1) if line.startswith("over") else line.split())
        self.lines.put(None)


def camera() -> Simulator:
    """Return the camera of all runs."""
    return Simulator(shape=SHAPE, modules=2, gap=4, growth=2.0)


def expected_frames(folder: Path) -> Path:
    """Write down all frames that the camera gives."""
    one = camera()
    path = folder / "expected.npy"
    np.save(path, np.stack([one.frame(number).values[0] for number in range(NB_FRAMES)]))
    return path


def run(kill: Kill, folder: Path, expected: Path, sabotage: str = "") -> Verdict:
    """Run an acquisition, kill, and look what is left."""
    verdict, log = Verdict(faults=1), set[int]()
    with ExitStack() as stack:
        starter, logger = Program(stack, "starter"), Program(stack, "logger")
        cluster = None
        if kill.kind != "local":
            needed = TOPOLOGIES[kill.topology].nb_workers + 1  # one to spare
            cluster = stack.enter_context(process_cluster(needed))
        address = cluster.address if cluster else "local"
        asked = {
            "address": address, "folder": str(folder), "sabotage": sabotage,
            "topology": kill.topology,
        }  # fmt: skip
        try:
            over = _Run(kill, starter, logger, cluster, asked).to_its_end(log)
        except (TimeoutError, subprocess.TimeoutExpired, psutil.TimeoutExpired):
            verdict.hangs, over = 1, None
    verdict.acknowledged = len(log)
    if over is not None:
        verdict.nameless += over["nameless"]
    _look(folder, expected, log, verdict, TOPOLOGIES[kill.topology].dispatch == "partial")
    return verdict


class _Run:
    """One acquisition and its end."""

    def __init__(
        self,
        kill: Kill,
        starter: Program,
        logger: Program,
        cluster: ProcessCluster | None,
        asked: dict[str, str],
    ) -> None:
        self._kill, self._starter, self._logger = kill, starter, logger
        self._cluster, self._asked = cluster, asked

    def to_its_end(self, log: set[int]) -> dict[str, Any] | None:
        """Run, kill and wait; return how it ended where anybody can tell."""
        self._starter.tell(json.dumps(self._asked))
        told = self._starter.hear()
        if told is None:
            raise RuntimeError("the client did not start")
        address, uuid = told[1], told[2]
        if self._kill.phase == "prepare":
            time.sleep(self._kill.delay)
            self._strike("worker-0", "worker-1")
            self._end_of_preparing()
            return None
        told = self._starter.hear()
        if told is None:
            raise RuntimeError("the run was not prepared")
        receiver, processor = told[1], told[2]
        self._logger.tell(f"{address} {uuid}")
        self._logger.hear()
        self._starter.tell("")
        struck = False
        while (told := self._logger.hear()) is not None:
            if told[0] == "saved":
                log |= set(range(int(told[1]), int(told[2]) + 1))
            if told[0] == "over":
                return dict(json.loads(told[1]))
            if not struck and self._kill.is_due(told):
                struck = True
                time.sleep(self._kill.delay)
                self._strike(receiver, processor)
            if struck and self._kill.kind in ("scheduler", "local"):
                break
        self._drain(log)
        self._wait_for_processes()
        return None

    def _strike(self, receiver: str, processor: str) -> None:
        kind, cluster = self._kill.kind, self._cluster
        if kind in ("client", "local"):
            children = psutil.Process(self._starter.process.pid).children(recursive=True)
            self._orphans = children if kind == "local" else []
            self._starter.process.kill()
        elif cluster is not None and kind == "scheduler":
            cluster.scheduler.kill()
        elif cluster is not None:
            cluster.send(receiver if kind == "receiver" else processor, signal.SIGKILL)

    def _end_of_preparing(self) -> None:
        """Wait for what was being prepared to end, one way or the other."""
        if self._kill.kind in ("scheduler", "local"):
            self._wait_for_processes()
        elif self._kill.kind != "client":
            self._starter.tell("")  # it may have been prepared before the kill
            self._starter.tell("")
            self._starter.process.wait(timeout=BOUND)

    def _drain(self, log: set[int]) -> None:
        """Take what the logger had heard before its scheduler died."""
        with suppress(TimeoutError):  # it waits for its scheduler to come back
            while (told := self._logger.hear(timeout=1.0)) is not None:
                if told[0] == "saved":
                    log |= set(range(int(told[1]), int(told[2]) + 1))

    def _wait_for_processes(self) -> None:
        """Wait until workers have ended by themselves, as they must without a scheduler."""
        if self._cluster is not None and self._kill.kind == "scheduler":
            for worker in self._cluster.workers.values():
                worker.wait(timeout=BOUND)
        elif self._kill.kind == "local":
            _, alive = psutil.wait_procs(self._orphans, timeout=BOUND)
            if alive:
                raise TimeoutError(f"{len(alive)} processes are left behind")


def _look(folder: Path, expected: Path, log: set[int], verdict: Verdict, has_parts: bool) -> None:
    """Recover what has no master, and hold it against what should be there."""
    command = [sys.executable, "-m", "limadask", "recover", "--force", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"recovering failed: {done.stderr}")
    master = folder / "run_master.h5"
    if not master.exists():
        verdict.lost = len(log)
        return
    acknowledged = folder / "acknowledged.json"
    acknowledged.write_text(json.dumps(sorted(log)))
    program = Path(__file__).with_name("check.py")
    command = [sys.executable, str(program), str(master), str(expected), str(acknowledged)]
    command += ["parts"] if has_parts else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the files cannot be read: {done.stderr}")
    told = json.loads(done.stdout)
    verdict.frames, verdict.lost = NB_FRAMES, told["lost"]
    verdict.wrong += told["wrong"]
    verdict.nameless += told["nameless"]
