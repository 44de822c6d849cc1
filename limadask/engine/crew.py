"""The workers of a run, their tickets, and how far they are."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from math import ceil
from typing import Any

from limadask.engine.port import Ticket, WorkerInfo
from limadask.engine.window import Window

WINDOW = 64
"""Tickets out for one receiver."""
LEAST_WINDOW = 4
"""Tickets out for one receiver and one of many processing workers."""


class Crew:
    """Who receives, who processes, which tickets are out, and who is lost.

    Parameters
    ----------
    receivers, processors:
        The workers. Where they are the same, each processes what it receives: data stays where
        it is.
    """

    def __init__(self, receivers: list[WorkerInfo], processors: list[WorkerInfo]) -> None:
        self.receivers, self.processors = receivers, processors
        self.lost: set[str] = set()
        self._unanswered: dict[tuple[str, str], None] = {}
        self.tickets: dict[int, Window] = {}
        self.progress: dict[str, Mapping[str, Any]] = {}
        self._over: set[str] = set()
        self._receipts: Counter[str] = Counter()
        self._expected: int | None = None
        self._written_off: set[str] = set()
        self.saw_the_end = False
        """Whether some receiver has ended by itself."""
        self._numbers = itertools.count()
        self._names: dict[Window, str] = {}
        size = WINDOW if self.stays else max(LEAST_WINDOW, WINDOW // max(1, len(processors)))
        self._windows = {
            (receiver.address, processor.address): Window(receiver.address, processor.address, size)
            for receiver in receivers
            for processor in ([receiver] if self.stays else processors)
        }

    @property
    def stays(self) -> bool:
        """Whether each worker processes what it receives, and nothing else."""
        return self.receivers == self.processors

    def __contains__(self, worker: str) -> bool:
        return any(worker == one.address for one in self.receivers + self.processors)

    @property
    def addresses(self) -> list[str]:
        """Addresses of all that live, each once."""
        known = dict.fromkeys(one.address for one in self.receivers + self.processors)
        return [address for address in known if address not in self.lost]

    @property
    def living_receivers(self) -> list[str]:
        """Addresses of the receivers that live."""
        return [one.address for one in self.receivers if one.address not in self.lost]

    @property
    def living_processors(self) -> list[WorkerInfo]:
        """The processing workers that live."""
        return [one for one in self.processors if one.address not in self.lost]

    @property
    def lost_ranks(self) -> list[int]:
        """Ranks of the processing workers that are lost."""
        return [rank for rank, one in enumerate(self.processors) if one.address in self.lost]

    @property
    def lost_a_receiver(self) -> bool:
        """Whether some receiver is lost."""
        return len(self.living_receivers) < len(self.receivers)

    @property
    def receives(self) -> bool:
        """Whether some receiver still goes on."""
        return any(one.address not in self._over for one in self.receivers)

    def is_receiving(self, worker: str) -> bool:
        """Whether a worker receives, and goes on to."""
        return any(one.address == worker for one in self.receivers) and worker not in self._over

    @property
    def received(self) -> int:
        """Frames received so far."""
        return sum(int(one.get("received", 0)) for one in self.progress.values())

    @property
    def seen(self) -> int:
        """The highest frame number that any receiver has seen, plus one."""
        return max((int(one.get("next", 0)) for one in self.progress.values()), default=0)

    def part_of(self, receiver: str) -> int:
        """Return which part of the frames a worker receives: the only one, all of them."""
        return 0

    def names_of(self, window: Window) -> str:
        """Return the names of the workers that receive what a window's tickets stand for."""
        if window not in self._names:
            self._names[window] = ", ".join(self.name(one) for one in window.sources)
        return self._names[window]

    def name(self, address: str) -> str:
        """Return the name of a worker."""
        known = {one.address: one.name for one in self.receivers + self.processors}
        return known.get(address, address)

    def expect(self, nb_frames: int | None, per_block: int) -> None:
        """Be told how much will come, if anybody knows."""
        self._expected = None if nb_frames is None else ceil(nb_frames / per_block)

    def lose(self, worker: str) -> None:
        """Note that a worker is gone; what it receives is over."""
        self.lost.add(worker)
        self._over.add(worker)

    def leave_unanswered(self, worker: str, operation: str) -> None:
        """Note that a worker was asked for something, and that nobody waits for it any more."""
        self._unanswered[worker, operation] = None

    def unanswered(self) -> str:
        """Return in words which workers have not answered, and what."""
        told = [f"{self.name(worker)} to {what!r}" for worker, what in self._unanswered]
        return f", no answer from {', '.join(told)}" if told else ""

    def end(self, receiver: str) -> None:
        """Note that a receiver has ended."""
        self._over.add(receiver)
        self.saw_the_end = True

    def take_settled_losses(self) -> list[int]:
        """Return which receivers are lost and have no ticket out any more; each is told once."""
        if len(self.receivers) == 1 or self.lost <= self._written_off:  # looked at for each block
            return []
        out = {source for window in self.tickets.values() for source in window.sources}
        settled = self.lost - out - self._written_off
        self._written_off |= settled
        return [index for index, one in enumerate(self.receivers) if one.address in settled]

    def take(self, ticket: int, has_block: bool) -> Window | None:
        """Take a ticket back; None if it was taken back before."""
        window = self.tickets.pop(ticket, None)
        if window is not None:
            window.out.discard(ticket)
            self._receipts[window.receiver] += has_block
        return window

    def backlog(self, receiver: str) -> int:
        """Return how many blocks a receiver has delivered that have no receipt yet."""
        delivered = int(self.progress.get(receiver, {}).get("blocks", 0))
        return max(0, delivered - self._receipts[receiver])

    def is_behind(self, done: int) -> bool:
        """Tell whether frames wait for their processing; ``done`` frames have been processed."""
        return any(self.backlog(one) for one in self.living_receivers)

    def lagging(self) -> dict[str, int]:
        """Return receivers that hold up the others, and the block that these have reached."""
        return {}

    def refill(self) -> list[Ticket]:
        """Return the tickets that are to be handed out now."""
        tickets = [
            ticket
            for window in self._windows.values()
            if window.receiver not in self.lost
            for ticket in window.refill(self._numbers, self._wanted(window.receiver))
        ]
        for ticket in tickets:
            self.tickets[ticket.number] = self._windows[ticket.receiver, ticket.processor]
        return tickets

    def is_done(self) -> bool:
        """Tell whether every block that was delivered has its receipt, and no ticket is out."""
        if self.receives or self.tickets:
            return False
        return all((self._wanted(one) or 0) <= 0 for one in self.living_receivers)

    def _wanted(self, receiver: str) -> int | None:
        """Return how many blocks may still come from a receiver, None if nobody knows."""
        taken = self._receipts[receiver]
        if receiver in self._over:
            return int(self.progress.get(receiver, {}).get("blocks", 0)) - taken
        # gaps and pauses may split blocks: there can be more of them than expected
        return None if self._expected is None else max(2, self._expected - taken)
