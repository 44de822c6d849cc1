"""Which cores a worker may use, and which of them receivers have for themselves."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable
from typing import Any

from limadask.memory.nodes import interface_of, node_of, nodes


def allowed_cores() -> frozenset[int]:
    """Return the cores that this process may use; empty where the system pins no threads."""
    if not hasattr(os, "sched_getaffinity"):
        return frozenset()
    return frozenset(os.sched_getaffinity(os.getpid()))  # of the main thread, which is never pinned


def near_cores(host: str) -> frozenset[int]:
    """Return the cores near the network card of an address; empty where there is no telling."""
    interface = interface_of(host)
    try:
        node = node_of(interface) if interface else None
    except LookupError:  # it went just now
        node = None
    return frozenset() if node is None else nodes().get(node, frozenset())


class CoreClaim:
    """A core that one receiver of the computer has for itself.

    It is a name in the system's table of sockets, not a file: the system takes it back with the
    process, however that ends. Containers with networks of their own do not see each other's.

    Parameters
    ----------
    core:
        Its number.

    Raises
    ------
    OSError
        When another receiver has it.
    """

    def __init__(self, core: int) -> None:
        self.core, self._socket = core, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.bind(_name(core))
        except OSError:
            self._socket.close()
            raise

    def release(self) -> None:
        """Let others have it."""
        self._socket.close()


def claim_one(cores: Iterable[int]) -> CoreClaim | None:
    """Claim the first core that no receiver has; None where there is none."""
    for core in cores:
        try:
            return CoreClaim(core)
        except OSError:
            continue
    return None


def unclaimed(cores: Collection[int]) -> frozenset[int]:
    """Return those of some cores that no receiver of this computer has for itself."""
    return frozenset(core for core in cores if not _is_claimed(core))


def pin_thread(cores: Collection[int], thread: int = 0) -> None:
    """Let a thread, by the system's number, use these cores alone; 0 is the calling one.

    Raises
    ------
    OSError
        When the system refuses, or the thread is gone.
    """
    os.sched_setaffinity(thread, cores)


def _is_claimed(core: int) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        return asking.connect_ex(_name(core)) == 0


def _name(core: int) -> Any:
    return f"\0limadask-core-{core}"
