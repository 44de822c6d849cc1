"""One MPI world: its processes, as the worker that owns them sees them."""

from __future__ import annotations

import logging
import os
import pickle
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from limadask.errors import LimadaskError
from limadask.memory.janitor import Claim
from limadask.mpi.messages import ADDRESS, END, HELLO, Answer

logger = logging.getLogger(__name__)
ENDING = 5.0
"""Seconds that processes may take to end."""
GRACE = 2.0
"""Seconds that the other ranks may take to end a block of which one rank has raised."""
LOOK = 0.1
NAMES = re.compile(r"/dev/shm/mpich_shm_\w+|/tmp/hydra_hwloc_xmlfile_\w+")  # noqa: S108 - there
"""Shared memory of MPICH, and what its launcher knows of the computer, as the kernel shows it."""
FOREIGN = ("PMI_", "PMIX_", "PMI2_", "OMPI_", "HYDI_", "HYDRA_", "MPI_LOCAL")
"""Variables of a world that the worker itself is in; they would lead the launcher astray."""


class WorldError(LimadaskError, RuntimeError):
    """A block that the ranks of a world could not process."""


class WorldEnded(WorldError):  # noqa: N818 - it is not the block's fault
    """The same, and the world is of no use any more."""


class World:
    """The ranks of one world, each with a connection of its own: whose ends, has died.

    Parameters
    ----------
    launcher:
        The command that starts programs as a world.
    ranks:
        How many there are.
    first:
        The first message to each.
    timeout:
        Seconds that it may take until all are ready.

    Raises
    ------
    WorldEnded
        When it does not start.
    """

    def __init__(self, launcher: Sequence[str], ranks: int, first: bytes, timeout: float) -> None:
        self._ranks, self._deadline = ranks, time.monotonic() + timeout
        self._token = secrets.token_hex(16).encode()
        self._connections: dict[int, Connection] = {}
        self._lifelines: list[socket.socket] = []
        self._processes: list[psutil.Process] = []
        self._said: deque[str] = deque(maxlen=20)
        with socket.create_server(("127.0.0.1", 0), backlog=2 * ranks) as server:
            server.settimeout(LOOK)
            self._launch(launcher, server.getsockname()[1])
            self._claim = Claim()
            try:
                while len(self._connections) < ranks or len(self._lifelines) < ranks:
                    self._welcome(server)
                    self._claim.add(self._names())
                self._begin(first)
            except BaseException:
                self.kill()
                raise

    @property
    def is_alive(self) -> bool:
        """Whether all ranks are still connected; nothing may be running."""
        return not wait(list(self._connections.values()), 0)

    def run(self, message: bytes, timeout: float) -> Answer:
        """Let all ranks work on a block; return what rank 0 answers.

        Raises
        ------
        WorldError
            When the function raises, and all ranks are done with it.
        WorldEnded
            When a rank dies, or they do not all end in time.
        """
        self._deadline = time.monotonic() + timeout
        self._send(message)
        first, raised = Answer(), dict[int, Answer]()
        try:
            for rank, answer in self._answers():
                if answer.error:
                    raised[rank] = answer
                    self._deadline = min(self._deadline, time.monotonic() + GRACE)
                elif rank == 0:
                    first = answer
        except _LateError as late:
            text = f"{late} ended within {timeout:g} s"
            if raised:
                text = f"{_told(raised)}, and {late} ended since"
            raise _noted(WorldEnded(text), raised) from None
        if raised:
            raise _noted(WorldError(_told(raised)), raised)
        return first

    def end(self) -> None:
        """Let all ranks end; those that do not are killed."""
        with suppress(OSError):
            for one in self._connections.values():
                one.send_bytes(END)
        with suppress(subprocess.TimeoutExpired):
            self._launched.wait(ENDING)
        self.kill()

    def stop(self) -> None:
        """Kill the ranks, from any thread: who waits for them goes on."""
        for process in self._processes:
            with suppress(psutil.Error):
                process.kill()

    def kill(self) -> None:
        """End all processes now, and give everything back."""
        self._claim.add(self._names())  # of a world that has not begun
        self.stop()
        for line in self._lifelines:
            line.close()  # what has not said which process it is ends by this
        for one in self._connections.values():
            one.close()
        with suppress(ProcessLookupError):
            os.killpg(self._launched.pid, signal.SIGKILL)
        self._launched.wait(ENDING)
        psutil.wait_procs(self._processes, ENDING)
        self._reader.join(ENDING)
        self._claim.clear()

    def _begin(self, first: bytes) -> None:
        """Tell all ranks what they are for."""
        self._send(first)
        try:
            for rank, answer in self._answers():
                if answer.error:
                    raise _noted(
                        WorldEnded(f"rank {rank} cannot begin: {answer.error}"), {rank: answer}
                    )
        except _LateError as late:
            raise WorldEnded(f"{late} begun in time") from None
        self._claim.add(self._names())
        self._claim.clear()  # all have opened them by now

    def _names(self) -> set[str]:
        """Return the names of what MPI has made for this world.

        It takes them away at the end alone, and leaves them behind where a process is killed.
        """
        found = set[str]()
        for pid in {one.pid for one in (*self._processes, *self._launched_processes())}:
            with suppress(OSError):
                process = Path(f"/proc/{pid}")
                opened = [os.readlink(one) for one in (process / "fd").iterdir()]
                found.update(NAMES.findall((process / "maps").read_text() + "\n".join(opened)))
        return found

    def _launched_processes(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            launcher = psutil.Process(self._launched.pid)
            return [launcher, *launcher.children(recursive=True)]
        return []

    def _launch(self, launcher: Sequence[str], port: int) -> None:
        known = {name: one for name, one in os.environ.items() if not name.startswith(FOREIGN)}
        environment = {
            **known,
            ADDRESS: f"{port} {self._token.decode()}",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # what is imported here
        }
        program = [sys.executable, "-P", "-m", "limadask.mpi.rank"]
        try:
            self._launched = subprocess.Popen(  # noqa: S603 - the user's own launcher
                [*launcher, *program], env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise WorldEnded(f"{launcher[0]} cannot be started: {error}") from error
        self._reader = threading.Thread(target=self._listen, name="limadask-mpi", daemon=True)
        self._reader.start()

    def _listen(self) -> None:
        """Log what the ranks print, and remember the end of it."""
        stream = self._launched.stdout
        if stream is None:
            return
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._said.append(text)
                logger.info("%s", text)

    def _welcome(self, server: socket.socket) -> None:
        """Take one connection, if one comes."""
        if (status := self._launched.poll()) is not None:
            self._reader.join(ENDING)
            raise WorldEnded(f"it ended at once, status {status}: {' | '.join(self._said)}")
        if time.monotonic() > self._deadline:
            found = f"{len(self._connections)} of {self._ranks} ranks have come"
            raise WorldEnded(f"{found} in time: {' | '.join(self._said) or 'nothing was printed'}")
        with suppress(TimeoutError):
            line, _ = server.accept()
            line.settimeout(1.0)
            self._take(line)

    def _take(self, line: socket.socket) -> None:
        """See who has come; strangers are sent away."""
        try:
            told = line.recv(HELLO.size, socket.MSG_WAITALL)
            token, pid, rank, size, is_lifeline = HELLO.unpack(told)
        except (OSError, struct.error):
            token = b""
        if not secrets.compare_digest(token, self._token):
            line.close()
            return
        line.settimeout(None)
        if is_lifeline:
            self._lifelines.append(line)
            with suppress(psutil.Error):
                self._processes.append(psutil.Process(pid))
        else:
            self._connections[rank] = Connection(line.detach())
        if size != self._ranks:
            raise WorldEnded(
                f"the launcher has started a world of {size} ranks where {self._ranks} are wanted: "
                "mpi4py and the launcher must belong to the same MPI"
            )

    def _send(self, message: bytes) -> None:
        for rank, one in self._connections.items():
            try:
                one.send_bytes(message)
            except OSError as error:
                raise self._died(rank) from error

    def _answers(self) -> Iterator[tuple[int, Answer]]:
        """Yield each rank's answer as it comes, until the deadline."""
        left: dict[Any, int] = {one: rank for rank, one in self._connections.items()}
        while left:
            ready = wait(list(left), max(0.0, self._deadline - time.monotonic()))
            if not ready:
                raise _LateError(left.values())
            for one in ready:
                rank = left.pop(one)
                try:
                    answer = pickle.loads(self._connections[rank].recv_bytes())  # noqa: S301
                except (EOFError, OSError) as error:
                    raise self._died(rank) from error
                yield rank, answer

    def _died(self, rank: int) -> WorldEnded:
        error = WorldEnded(f"rank {rank} of {self._ranks} has died")
        if self._said:
            error.add_note("\n".join(self._said))
        return error


class _LateError(Exception):
    """Ranks that have not answered in time."""

    def __init__(self, ranks: Iterable[int]) -> None:
        found = sorted(ranks)
        subject = f"rank {found[0]} has" if len(found) == 1 else f"ranks {found} have"
        super().__init__(f"{subject} not")


def _told(raised: Mapping[int, Answer]) -> str:
    """Return what was raised; ranks that raised the same together."""
    texts: dict[str, list[int]] = {}
    for rank, answer in sorted(raised.items()):
        texts.setdefault(answer.error, []).append(rank)
    return "; ".join(f"{error} (rank {', '.join(map(str, r))})" for error, r in texts.items())


def _noted(error: WorldError, raised: Mapping[int, Answer]) -> Any:
    """Add the tracebacks."""
    for rank, answer in raised.items():
        error.add_note(f"rank {rank}: {answer.details}")
    return error
