"""What the coordinator needs of the cluster; only :mod:`limadask.cluster` knows how."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from limadask.events import Event


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker that can take part.

    Parameters
    ----------
    address, name:
        How it is reached and called.
    threads:
        Blocks it processes at a time.
    neighbours:
        How many workers share its computer, itself among them.
    roles:
        What it is there for; none where it serves for anything.
    """

    address: str
    name: str
    threads: int
    neighbours: int = 1
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ticket:
    """A block that has not been exposed yet.

    Parameters
    ----------
    number:
        Unique in its acquisition.
    receiver, processor:
        Addresses of the workers that receive and process it.
    others:
        Further workers that receive a part of it.
    """

    number: int
    receiver: str
    processor: str
    others: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Addresses of all workers that receive it, or a part of it."""
        return (self.receiver, *self.others)


Nodes = Sequence[tuple[str, Sequence[str]]]
"""Nodes and the nodes they come after."""


class Port(Protocol):
    """The cluster as the coordinator sees it."""

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that live."""

    async def call(self, worker: str, operation: str, uuid: str, **message: Any) -> Any:
        """Ask a worker for something; return its answer.

        Raises
        ------
        WorkerError
            When it answers with an error.
        OSError
            When it cannot be reached.
        """

    def send(self, worker: str, operation: str, uuid: str, **message: Any) -> None:
        """Tell a worker something."""

    def submit(
        self, uuid: str, label: str, rank: int, tickets: Sequence[Ticket], nodes: Nodes
    ) -> None:
        """Hand tickets out as tasks: one each, or one for each of ``nodes``."""

    def publish(self, event: Event) -> None:
        """Tell all clients."""

    def spawn(self, job: Coroutine[Any, Any, None]) -> None:
        """Run something beside the rest."""


class WorkerError(Exception):
    """An error on a worker: its text, and the pickled exception for the client."""

    def __init__(self, text: str, pickled: bytes) -> None:
        super().__init__(text, pickled)
        self.text, self.pickled = text, pickled
