"""A receiver's blocks and the tickets that wait for them.

Only the worker's event loop touches a :class:`Blocks`, so it needs no lock.
"""

from __future__ import annotations

import asyncio
import heapq
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from limadask.frames import Frames

KEPT_TICKETS = 1 << 16
"""How far back ended tickets of a run are remembered: many times as many as are out at a time."""


class Ending(Enum):
    """How a ticket ends without a block."""

    ABSENT = "absent"
    """Its block is lost, or was dealt with already."""
    UNUSED = "unused"
    """The run is over; there was no block for it."""


Answer = Frames | Ending


class Blocks:
    """Gives each ticket a block, and keeps the block until its receipt is acknowledged.

    A ticket belongs to one processing worker, and a worker is lent only as many blocks as it has
    credit: a slow one neither stores up blocks nor holds up the others.

    Parameters
    ----------
    credits:
        Processing workers and the blocks each may hold at a time.
    group:
        Frame numbers ``k·group ≤ i < (k + 1)·group`` go to one worker; 0 if it does not matter.
    """

    def __init__(self, credits: Mapping[str, int], group: int = 0) -> None:
        self._credits, self._group = dict(credits), group
        self._ready: deque[Frames] = deque()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._tickets: dict[str, list[int]] = {processor: [] for processor in credits}
        self._kept: dict[int, tuple[str, Frames]] = {}
        self._done = array("q", [-1]) * KEPT_TICKETS  # by number, modulo its length: never grows
        self._ended = False
        self._last_group: tuple[int, str] | None = None
        self.delivered = self.nb_let_go = self.nb_frames_let_go = 0
        """Blocks that came, and those of them that were let go."""
        self._gone: list[tuple[int, int, int]] = []

    @property
    def unprocessed(self) -> int:
        """Blocks delivered and not yet acknowledged."""
        return len(self._ready) + len(self._kept)

    @property
    def tickets(self) -> int:
        """Tickets that wait for a block."""
        return len(self._waiting)

    @property
    def waiting(self) -> int:
        """Blocks that no worker has got; may be asked from any thread."""
        return len(self._ready)

    def let_go(self) -> None:
        """Let the oldest block go that no worker has got: its memory is needed."""
        if self._ready:
            block = self._ready.popleft()
            self.nb_let_go += 1
            self.nb_frames_let_go += len(block)
            self._gone += _ranges(block.numbers)

    def take_gone(self) -> list[tuple[int, int, int]]:
        """Return the frames let go since the last call, as ranges: first, last + 1, and step."""
        gone, self._gone = self._gone, []
        return gone

    def deliver(self, block: Frames) -> None:
        """Accept a block from the acquisition thread."""
        self.delivered += 1
        self._ready.append(block)
        self._match()

    def end(self, drop: bool = False) -> None:
        """Accept that no further block will come; ``drop`` those that no ticket has got."""
        self._ended = True
        if drop:
            self._ready.clear()
        self._match()

    def get(self, ticket: int, processor: str) -> Answer | asyncio.Future[Answer]:
        """Return a ticket's block, or a future of it.

        A rerun gets the block it had, or ``ABSENT``; it never waits for another one.
        """
        if self._done[ticket % KEPT_TICKETS] == ticket:
            return Ending.ABSENT
        if ticket in self._kept:
            return self._kept[ticket][1]
        future = self._waiting.get(ticket)
        if future is None:
            future = self._waiting[ticket] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._tickets.setdefault(processor, []), ticket)
            self._match()
        return future.result() if future.done() else future

    def kept(self, ticket: int) -> Answer:
        """Return a ticket's block again, ``ABSENT`` if it was dealt with."""
        return self._kept[ticket][1] if ticket in self._kept else Ending.ABSENT

    def acknowledge(self, ticket: int) -> None:
        """Let go of a block whose receipt has arrived."""
        self._finish(ticket)
        if self._kept.pop(ticket, None) is not None:
            self._match()

    def _finish(self, ticket: int) -> None:
        """Remember that a ticket has ended, for as long as it could be run again."""
        self._done[ticket % KEPT_TICKETS] = ticket

    def undone(self) -> Iterable[Frames]:
        """Return the blocks without a receipt, in order: what is left without a scheduler."""
        kept = [self._kept[ticket][1] for ticket in sorted(self._kept)]
        return kept + list(self._ready)

    def _match(self) -> None:
        while self._ready and (processor := self._processor(self._ready[0])):
            ticket = heapq.heappop(self._tickets[processor])
            block = self._ready.popleft()
            self._kept[ticket] = processor, block
            self._waiting.pop(ticket).set_result(block)
        if self._ended and not self._ready:
            while self._waiting:
                ticket, future = self._waiting.popitem()
                self._finish(ticket)
                future.set_result(Ending.UNUSED)
            self._tickets = {processor: [] for processor in self._tickets}

    def _processor(self, block: Frames) -> str | None:
        """Choose the worker that holds least of what it may, of those with a ticket waiting."""
        held = dict.fromkeys(self._tickets, 0)
        for processor, _ in self._kept.values():
            held[processor] = held.get(processor, 0) + 1
        free = {
            processor: held[processor] / credit
            for processor, tickets in self._tickets.items()
            if tickets and (credit := self._credits.get(processor, 1)) > held[processor]
        }
        first, last = block.span[0], block.span[1] - 1
        if self._group and self._last_group is not None:
            group, chosen = self._last_group
            if first // self._group == group:  # goes on where the block before has ended
                if chosen not in free:
                    return None
                self._last_group = last // self._group, chosen
                return chosen
        if not free:
            return None
        chosen = min(free, key=lambda one: (free[one], self._tickets[one][0]))
        if self._group:
            self._last_group = last // self._group, chosen
        return chosen


def _ranges(numbers: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Return increasing frame numbers as ranges: first, last + 1, and step."""
    steps = np.diff(numbers)
    if len(steps) and (steps == steps[0]).all():  # receivers take turns
        return [(int(numbers[0]), int(numbers[-1]) + 1, int(steps[0]))]
    parts = np.split(numbers, np.flatnonzero(steps != 1) + 1)
    return [(int(some[0]), int(some[-1]) + 1, 1) for some in parts if len(some)]
