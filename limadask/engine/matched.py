"""A receiver's blocks where each ticket stands for certain frames, since others have their part."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np

from limadask.engine.blocks import Answer, Ending
from limadask.frames import Frames


class MatchedBlocks:
    """Gives ticket *k* the *k*-th block, and keeps it until its receipt is acknowledged.

    Only the worker's event loop touches it, so it needs no lock.

    Parameters
    ----------
    nb_frames_per_block:
        Frames of a block: ticket *k* stands for frames ``k·n ≤ i < (k + 1)·n``.
    """

    def __init__(self, nb_frames_per_block: int) -> None:
        self._size = nb_frames_per_block
        self._blocks: dict[int, Frames] = {}
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._pieces: list[Frames] = []
        self._passed = 0
        self._ended = False
        self.delivered = 0

    @property
    def unprocessed(self) -> int:
        """Blocks delivered and not yet acknowledged."""
        return len(self._blocks)

    @property
    def tickets(self) -> int:
        """Tickets that wait for a block."""
        return len(self._waiting)

    def deliver(self, block: Frames) -> None:
        """Accept a block from the acquisition thread; blocks come in order.

        Its causes also tell of the frames of blocks before it that never came.
        """
        ticket = int(block.numbers[0]) // self._size
        self.delivered += 1
        if self._pieces and int(self._pieces[0].numbers[0]) // self._size != ticket:
            self._complete()
        self._pieces.append(block)
        if block.span[1] >= (ticket + 1) * self._size:
            self._complete()
        self._match()

    def _complete(self) -> None:
        """Let a ticket have its block: the pieces that came, since a slot's end may cut it."""
        pieces, self._pieces = self._pieces, []
        ticket = int(pieces[0].numbers[0]) // self._size
        causes = {one: why for piece in pieces for one, why in piece.causes.items()}
        for lost in range(self._passed, ticket):
            self._blocks[lost] = _nothing(self._of(causes, lost))
        if ticket >= self._passed:
            block = pieces[0] if len(pieces) == 1 else Frames.joined(pieces)
            block.causes = self._of(causes, ticket)
            self._blocks[ticket] = block
            self._passed = ticket + 1

    def pass_to(self, ticket: int) -> None:
        """Wait no longer for the blocks of tickets below this one: others have theirs already."""
        for late in range(self._passed, ticket):
            first = late * self._size
            numbers = range(first, first + self._size)
            self._blocks[late] = _nothing(dict.fromkeys(numbers, "timeout"))
        self._passed = max(self._passed, ticket)
        self._match()

    def end(self, drop: bool = False) -> None:
        """Accept that no further block will come; ``drop`` those that no ticket has got."""
        self._ended = True
        if self._pieces:
            self._complete()
        if drop:
            self._blocks.clear()
        self._match()

    def get(self, ticket: int, processor: str) -> Answer | asyncio.Future[Answer]:
        """Return a ticket's block, or a future of it; a rerun gets the same block."""
        if (answer := self._answer(ticket)) is not None:
            return answer
        if ticket not in self._waiting:
            self._waiting[ticket] = asyncio.get_running_loop().create_future()
        return self._waiting[ticket]

    def kept(self, ticket: int) -> Answer:
        """Return a ticket's block again, ``ABSENT`` if it was dealt with."""
        return self._blocks.get(ticket, Ending.ABSENT)

    def acknowledge(self, ticket: int) -> None:
        """Let go of a block whose receipt has arrived."""
        self._passed = max(self._passed, ticket + 1)  # it will never be asked for again
        self._blocks.pop(ticket, None)

    def undone(self) -> list[Frames]:
        """Return nothing: without a scheduler nobody puts the parts of a frame together."""
        return []

    def _of(self, causes: Mapping[int, str], ticket: int) -> dict[int, str]:
        """Return the causes that concern the frames of one ticket."""
        return {one: why for one, why in causes.items() if one // self._size == ticket}

    def _answer(self, ticket: int) -> Answer | None:
        if ticket in self._blocks:
            return self._blocks[ticket]
        if ticket < self._passed:
            return Ending.ABSENT
        return Ending.UNUSED if self._ended else None

    def _match(self) -> None:
        for ticket in list(self._waiting):
            if (answer := self._answer(ticket)) is not None:
                self._waiting.pop(ticket).set_result(answer)


def _nothing(causes: dict[int, str]) -> Frames:
    """Return a block without frames that tells why."""
    block = Frames.of(np.empty((0, 1, 1, 1), np.uint8))
    block.causes = causes
    return block
