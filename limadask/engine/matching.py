"""A crew whose receivers each have a part of every frame."""

from __future__ import annotations

from math import ceil

from limadask.engine.crew import Crew
from limadask.engine.port import Ticket, WorkerInfo
from limadask.engine.window import Window

AHEAD = 4
"""Tickets out for one thread of a processing worker: as many blocks it may hold at most."""


class MatchingCrew(Crew):
    """Hands each block to one processing worker, which gets all receivers' parts of it.

    Parameters
    ----------
    receivers, processors:
        The workers.
    """

    def __init__(self, receivers: list[WorkerInfo], processors: list[WorkerInfo]) -> None:
        super().__init__(receivers, processors)
        first, *others = (one.address for one in receivers)
        self._matched = [
            Window(first, one.address, AHEAD * one.threads, tuple(others)) for one in processors
        ]
        self._handed_out = self._per_block = 0

    @property
    def stays(self) -> bool:
        """No: a block has parts of all receivers."""
        return False

    def expect(self, nb_frames: int | None, per_block: int) -> None:
        """Be told how much will come, if anybody knows."""
        super().expect(nb_frames, per_block)
        self._per_block = per_block

    def refill(self) -> list[Ticket]:
        """Return the tickets that are to be handed out now, in order, to whoever has least."""
        tickets = []
        windows = [one for one in self._matched if one.processor not in self.lost]
        while windows and self.living_receivers and self._handed_out < self._last():
            window = min(windows, key=lambda one: len(one.out) / one.size)
            if len(window.out) >= window.size:
                break
            ticket = Ticket(self._handed_out, window.receiver, window.processor, window.others)
            window.out.add(ticket.number)
            self.tickets[ticket.number] = window
            self._handed_out += 1
            tickets.append(ticket)
        return tickets

    def is_done(self) -> bool:
        """Tell whether every block that was begun has its receipt, and no ticket is out."""
        if self.receives or self.tickets:
            return False
        return not self.living_receivers or self._handed_out >= self._last()

    @property
    def received(self) -> int:
        """Frames of which every receiver has its part, or the one that got most."""
        return max((int(one.get("received", 0)) for one in self.progress.values()), default=0)

    def is_behind(self, done: int) -> bool:
        """Tell whether frames wait for their processing, and not for their other parts.

        Parts of a block wait for each other, and receivers may be a block apart.
        """
        return self.received - done > 2 * self._per_block

    def lagging(self) -> dict[str, int]:
        """Return receivers that hold up the others, and the block that these have reached.

        One that is behind by half of what the slowest pool holds will not be waited for.
        """
        living = [one for one in self.living_receivers if one not in self._over]
        told = [self.progress.get(one, {}) for one in living]
        if len(living) < 2 or not all(told) or not self._per_block:
            return {}
        reached = [int(one["next"]) // self._per_block for one in told]
        before = max(reached) - max(1, min(int(one["slots"]) for one in told) // 2)
        return {one: before for one, block in zip(living, reached, strict=True) if block < before}

    def _last(self) -> int:
        """Return how many tickets there may be."""
        if self.receives:
            return self._expected if self._expected is not None else 1 << 62
        return ceil(self.seen / self._per_block) if self._per_block else 0
