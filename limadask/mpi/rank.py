"""The program of each rank: ``python -m limadask.mpi.rank``, started by an MPI launcher."""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import socket
import sys
import traceback
from multiprocessing.connection import Connection
from typing import Any

from limadask.frames import Labels
from limadask.memory import Segment
from limadask.mpi.memory import Bytes, mapped, packed, unpacked
from limadask.mpi.messages import ADDRESS, Answer, Returned, Work, connected


class Rank:
    """Calls the function with each block that the worker announces.

    Parameters
    ----------
    world:
        ``MPI.COMM_WORLD``.
    connection:
        To the worker. Between blocks the rank sleeps here, rather than in MPI, which would spin.
    """

    def __init__(self, world: Any, connection: Connection) -> None:
        self._world, self._comm, self._connection = world, world, connection
        self._mapped: dict[bool, tuple[Segment, Bytes]] = {}

    def serve(self) -> None:
        """Work until the worker says that it is over."""
        try:
            payload = self._given(pickle.loads(self._connection.recv_bytes()))  # noqa: S301
            self._function, self._fields, self._spec = pickle.loads(payload)  # noqa: S301
            self._labels = Labels(self._spec)
            answer = Answer()
        except Exception as error:
            answer = _raised(error)
        self._connection.send_bytes(pickle.dumps(answer))
        while message := self._connection.recv_bytes():
            self._connection.send_bytes(pickle.dumps(self._answer(pickle.loads(message))))  # noqa: S301

    def _answer(self, work: Work) -> Answer:
        try:
            if work.afresh:  # what was sent for the block that failed must never be received
                self._comm = self._world.Dup()  # and none is freed: its number would come again
            frames, masked = self._given(work)
            labels = self._labels
            if masked is not None:
                labels = Labels(self._spec.replace(masked=masked))
            result = self._function(self._comm, labels(frames), **self._fields)
            if self._world.rank:
                return Answer()
            room = self._memory(work.room, writable=True)
            return Answer(*packed(Returned.of(result), lambda nbytes: _enough(room, nbytes)))
        except BaseException as error:  # also exit(): the others would wait for this rank
            return _raised(error)

    def _given(self, work: Work) -> Any:
        """Return what the worker hands over; its arrays are read-only, and in the memory."""
        return unpacked(work.body, work.spans, self._memory(work.given, writable=False))

    def _memory(self, segment: Segment, *, writable: bool) -> Bytes:
        """Map memory of the worker, once."""
        known = self._mapped.get(writable)
        if known is None or known[0] != segment:
            try:
                known = self._mapped[writable] = segment, mapped(segment, writable=writable)
            except OSError as error:
                raise OSError(
                    f"the worker's memory cannot be read on {socket.gethostname()} ({error}): all "
                    "ranks must run on the worker's own computer"
                ) from error
        return known[1]


def _enough(room: Bytes, nbytes: int) -> Bytes:
    if nbytes > len(room):
        raise ValueError(f"rank 0 returned {nbytes} bytes: far more than planned")
    return room


def _raised(error: BaseException) -> Answer:
    details = "".join(traceback.format_exception(error, limit=-8))
    return Answer(error=f"{type(error).__name__}: {error}", details=details)


def hang_on(lifeline: socket.socket) -> None:
    """Let the kernel end this process when the other end is closed, whatever it does then.

    Compiled code may hold the GIL for long, so no thread could do it.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # closed before SIGIO could come
        os._exit(1)


def main() -> None:
    """Connect to the worker, and serve."""
    from mpi4py import MPI

    port, token = os.environ.pop(ADDRESS).split()
    world = MPI.COMM_WORLD
    who: dict[str, Any] = {"pid": os.getpid(), "rank": world.rank, "size": world.size}
    try:
        lifeline = connected(int(port), token.encode(), lifeline=True, **who)
        connection = connected(int(port), token.encode(), lifeline=False, **who)
    except OSError as error:
        sys.exit(f"the worker is gone: {error}")
    hang_on(lifeline)
    Rank(world, Connection(connection.detach())).serve()


if __name__ == "__main__":
    main()
