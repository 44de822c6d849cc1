"""One run of chaos: a cluster, a client, a logger, a kill, a verdict."""

from __future__ import annotations

import json
import operator
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

import numpy as np
import psutil

from limadask.cluster.local import ProcessCluster, process_cluster
from limadask_benchmarks.chaos.flushes import Flushes
from limadask_benchmarks.chaos.plan import (
    EXPO_TIME,
    FAILING,
    LOSSY,
    NB_FRAMES,
    SHAPE,
    TOPOLOGIES,
    Kill,
)
from limadask_detectors import Simulator

BOUND = 60.0
"""Seconds within which a run begins, and says something from then on."""
END = 30.0
"""Seconds that a run may take to its end from the kill on, beside what it still has to expose."""


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
        Frames of the runs, those without their status or cause, and those with wrong pixels.
    hangs:
        Runs that did not end in time.
    longest:
        Seconds from a kill to the end of its run, at most.
    """

    faults: int = 0
    acknowledged: int = 0
    lost: int = 0
    frames: int = 0
    nameless: int = 0
    wrong: int = 0
    hangs: int = 0
    longest: float = 0.0

    def __iadd__(self, other: Verdict) -> Self:
        for one in fields(self):
            joined = max if one.name == "longest" else operator.add
            setattr(self, one.name, joined(getattr(self, one.name), getattr(other, one.name)))
        return self

    def __str__(self) -> str:
        found = f"{self.acknowledged} acknowledged, {self.lost} lost"
        counts = {name: getattr(self, name) for name in ("nameless", "wrong", "hangs")}
        bad = [f"{count} {name}" for name, count in counts.items() if count]
        return ", ".join([found, *bad, f"{self.longest:.1f} s to its end"])


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
    return Simulator(shape=SHAPE, modules=2, gap=4, growth=2.0, faults={"lose_packets": LOSSY})


def expected_frames(folder: Path) -> Path:
    """Write down all frames that the camera gives."""
    one = camera()
    path = folder / "expected.npy"
    np.save(path, np.stack([one.frame(number).values[0] for number in range(NB_FRAMES)]))
    return path


def run(kill: Kill, folder: Path, expected: Path, sabotage: str = "") -> Verdict:
    """Run an acquisition, kill, and look what is left."""
    verdict, log, ledger = Verdict(faults=1), set[int](), None
    with ExitStack() as stack:
        starter, logger = Program(stack, "starter"), Program(stack, "logger")
        flushes = stack.enter_context(closing(Flushes(folder)))
        cluster = None
        if kill.kind != "local":
            needed = TOPOLOGIES[kill.topology].nb_workers + 1  # one to spare
            cluster = stack.enter_context(process_cluster(needed))
        address = cluster.address if cluster else "local"
        asked = {
            "address": address, "folder": str(folder), "sabotage": sabotage,
            "topology": kill.topology,
        }  # fmt: skip
        one = _Run(kill, starter, logger, cluster, flushes)
        try:
            ledger = one.to_its_end(asked, log)
        except (TimeoutError, subprocess.TimeoutExpired, psutil.TimeoutExpired):
            verdict.hangs = 1
        verdict.longest = one.since_kill
    verdict.acknowledged = len(log)
    known = {
        "acknowledged": sorted(log), "lossy": LOSSY, "failing": FAILING,
        "has_parts": TOPOLOGIES[kill.topology].dispatch == "partial", "ledger": ledger,
    }  # fmt: skip
    _look(folder, expected, known, verdict)
    return verdict


class _Run:
    """One acquisition and its end."""

    def __init__(
        self,
        kill: Kill,
        starter: Program,
        logger: Program,
        cluster: ProcessCluster | None,
        flushes: Flushes,
    ) -> None:
        self._kill, self._starter, self._logger = kill, starter, logger
        self._cluster, self._flushes = cluster, flushes
        self._struck = 0.0

    @property
    def since_kill(self) -> float:
        """Seconds since the kill."""
        return time.monotonic() - self._struck if self._struck else 0.0

    @property
    def _left(self) -> float:
        """Seconds until whatever is waited for must have come."""
        if not self._struck:
            return BOUND
        return max(0.0, END + NB_FRAMES * EXPO_TIME - self.since_kill)

    def to_its_end(self, asked: dict[str, str], log: set[int]) -> list[Any] | None:
        """Run, kill and wait; return the ledger where anybody can tell."""
        self._starter.tell(json.dumps(asked))
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
        while (told := self._logger.hear(self._left)) is not None:
            if told[0] == "saved":
                log |= set(range(int(told[1]), int(told[2]) + 1))
            if told[0] == "over":
                return list(json.loads(told[1]))
            if not self._struck and self._kill.is_due(told):
                self._wait_for_moment(receiver, processor)
                self._strike(receiver, processor)
            if self._struck and self._kill.kind in ("scheduler", "local"):
                break
        self._wait_for_processes()
        self._drain(log)
        return None

    def _wait_for_moment(self, receiver: str, processor: str) -> None:
        """Wait for the moment of the kill, once it is due."""
        if self._kill.phase == "flushing":
            # one that receives may never flush: any flush will do then, as for the scheduler
            kind, cluster, process = self._kill.kind, self._cluster, None
            is_shared = TOPOLOGIES[self._kill.topology].roles == "shared"
            if cluster is not None and (kind == "processor" or (kind == "receiver" and is_shared)):
                process = cluster.workers[receiver if kind == "receiver" else processor].pid
            self._flushes.wait(process, timeout=1.0)
        time.sleep(self._kill.delay)

    def _strike(self, receiver: str, processor: str) -> None:
        kind, cluster, self._struck = self._kill.kind, self._cluster, time.monotonic()
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
            self._starter.process.wait(timeout=self._left)

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
                worker.wait(timeout=self._left)
        elif self._kill.kind == "local":
            _, alive = psutil.wait_procs(self._orphans, timeout=self._left)
            if alive:
                raise TimeoutError(f"{len(alive)} processes are left behind")


def _look(folder: Path, expected: Path, known: dict[str, Any], verdict: Verdict) -> None:
    """Recover what has no master, and hold it against what should be there."""
    command = [sys.executable, "-m", "limadask", "recover", "--force", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"recovering failed: {done.stderr}")
    master = folder / "run_master.h5"
    if not master.exists():
        verdict.lost = len(known["acknowledged"])
        return
    told = folder / "known.json"
    told.write_text(json.dumps(known))
    program = Path(__file__).with_name("check.py")
    command = [sys.executable, str(program), str(master), str(expected), str(told)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"the files cannot be read: {done.stderr}")
    found = json.loads(done.stdout)
    verdict.frames, verdict.lost = NB_FRAMES, found["lost"]
    verdict.wrong, verdict.nameless = found["wrong"], found["nameless"]
