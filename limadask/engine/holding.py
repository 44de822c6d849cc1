"""Blocks that wait for their processing: kept in memory while there is room, then on disk."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from limadask.engine.blocks import Blocks
from limadask.engine.spool import Spool, Spooled
from limadask.frames import Frames


@dataclass(slots=True)
class Held:
    """A block that waits, wherever it is."""

    content: Frames | Spooled
    handed_on: bool = False


@dataclass(frozen=True, slots=True)
class Deferral:
    """How blocks are held.

    Parameters
    ----------
    folder:
        Where, on disk, if the user does not say.
    failed:
        Called when a block cannot be read back.
    ahead:
        Blocks that are handed on before they are asked for, in a run that is live; None where
        processing is deferred: then none is until :meth:`HeldBlocks.release`.
    """

    folder: str
    failed: Callable[[str], object]
    ahead: int | None = None


class HeldBlocks(Blocks):
    """Holds the blocks of a receiver until they are asked for, then hands them on in order.

    In a live run they are asked for from the beginning, and only what processing leaves lying is
    held. The newest goes to disk when less than half of the pool is free: so there is always room
    for frames that come, and processing begins with what is in memory. Afterwards no more blocks
    are in memory than the pool has slots.

    Parameters
    ----------
    credits, group:
        As for :class:`Blocks`.
    spool:
        The disk.
    slots:
        How many the pool has.
    free:
        Tells how many of them are free.
    failed:
        Called when a block cannot be read back.
    ahead:
        As for :class:`Deferral`.
    """

    def __init__(
        self,
        credits: Mapping[str, int],
        group: int,
        spool: Spool,
        slots: int,
        free: Callable[[], int],
        failed: Callable[[str], object],
        ahead: int | None = None,
    ) -> None:
        super().__init__(credits, group)
        self._spool, self._slots, self._free, self._failed = spool, slots, free, failed
        self._is_live, self._ahead = ahead is not None, slots if ahead is None else ahead
        self._held: deque[Held] = deque()
        self._jobs: set[asyncio.Task[None]] = set()
        self._feeding = self._spilling = self._leaves = False
        self._released = self._is_live
        self._complete = False
        self.is_stuck = False
        """Whether the disk has just refused a block: no memory gets free before processing."""
        self.trouble = ""
        """Why blocks could not be put on disk, if that ever happened."""

    @property
    def held(self) -> tuple[int, int]:
        """Blocks that wait in memory, and on disk."""
        on_disk = sum(isinstance(one.content, Spooled) for one in self._held)
        return len(self._held) - on_disk, on_disk

    def deliver(self, block: Frames) -> None:
        """Accept a block from the acquisition thread."""
        self._held.append(Held(block))
        self._go_on()

    def end(self, drop: bool = False) -> None:
        """Accept that no further block will come; ``drop`` those that no ticket has got."""
        self._complete = True
        if drop:
            self._held.clear()
            super().end(drop)
        self._go_on()

    def release(self) -> None:
        """Hand the blocks on from now on."""
        self._released, self.is_stuck = True, False
        self._go_on()

    def look(self) -> None:
        """Try again what the disk has refused; called from time to time."""
        self._go_on()

    def leave_memory(self) -> None:
        """Put all on disk: another acquisition needs the memory; not what is processed now."""
        self._leaves = not self._is_live
        self._go_on()

    def acknowledge(self, ticket: int) -> None:
        """Let go of a block whose receipt has arrived."""
        super().acknowledge(ticket)
        self._go_on()

    def undone(self) -> Iterator[Frames]:
        """Yield the blocks without a receipt, in order: what is left without a scheduler."""
        yield from super().undone()
        while self._held:
            content = self._held.popleft().content
            yield content if isinstance(content, Frames) else self._spool.read(content)

    def _go_on(self) -> None:
        self.is_stuck = self.is_stuck and self._is_short()
        if self._released and not self._feeding:
            self._feeding = True
            self._spawn(self._feed())
        if not self._spilling and self._is_short():
            self._spilling = True
            self._spawn(self._spill())

    async def _feed(self) -> None:
        """Hand blocks on while there is room for them."""
        try:
            while self._held and self.unprocessed < self._ahead:
                held = self._held.popleft()
                held.handed_on = True
                content = held.content
                if isinstance(content, Spooled):
                    content = await asyncio.to_thread(self._spool.read, content)
                super().deliver(content)
            if self._complete and not self._held:
                super().end()
        except (OSError, MemoryError) as error:
            self._failed(f"frames held in {self._spool.folder} cannot be read: {error}")
        finally:
            self._feeding = False

    async def _spill(self) -> None:
        """Put the newest blocks on disk while memory is short."""
        try:
            while self._is_short() and (held := self._newest()):
                assert isinstance(held.content, Frames)  # noqa: S101 - it is in memory
                spooled = await asyncio.to_thread(self._spool.write, held.content)
                self.is_stuck = False
                if held.handed_on:
                    self._spool.forget(spooled)
                held.content = spooled
        except OSError as error:  # tried again with the next block; the pool may fill up meanwhile
            self.is_stuck = True
            self.trouble = f"frames cannot be held in {self._spool.folder}: {error}"
        finally:
            self._spilling = False

    def _is_short(self) -> bool:
        is_short = not self._complete and 2 * self._free() < self._slots
        return bool(self._held) and (self._leaves or is_short)

    def _newest(self) -> Held | None:
        """Return the newest block in memory."""
        return next((one for one in reversed(self._held) if isinstance(one.content, Frames)), None)

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
