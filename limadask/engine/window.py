"""How many tickets a receiver has out, and when it gets more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from limadask.engine.port import Ticket


class Window:
    """The tickets of one receiver for one processing worker.

    They are handed out a window ahead, then in half windows: tickets cost memory while they
    wait, and single ones cost latency.

    Parameters
    ----------
    receiver, processor:
        Addresses of the workers.
    size:
        Tickets out at most.
    others:
        Further workers that receive a part of each block.
    """

    def __init__(
        self, receiver: str, processor: str, size: int, others: tuple[str, ...] = ()
    ) -> None:
        self.receiver, self.processor, self.size = receiver, processor, size
        self.others = others
        self.out: set[int] = set()

    @property
    def sources(self) -> tuple[str, ...]:
        """Addresses of all workers that receive a block, or a part of it."""
        return (self.receiver, *self.others)

    def refill(self, numbers: Iterator[int], wanted: int | None) -> list[Ticket]:
        """Return new tickets, if it is time.

        Parameters
        ----------
        numbers:
            Where their numbers come from.
        wanted:
            Blocks that may still come for these workers; None for any number.
        """
        if len(self.out) > self.size // 2:
            return []
        room = self.size - len(self.out)
        if wanted is not None:
            room = min(room, wanted - len(self.out))
        taken = list(itertools.islice(numbers, max(room, 0)))
        self.out.update(taken)
        return [Ticket(number, self.receiver, self.processor) for number in taken]
