"""How blocks get from the worker that received them to the one that processes them.

On one computer the pixels stay where they are, in shared memory, and a handle travels; what cannot
be opened there is sent by TCP. Which way it is, is found out at ``prepare`` by trying.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
from dask.sizeof import sizeof
from distributed import Worker
from distributed.comm.addressing import get_address_host
from distributed.protocol import to_serialize

from limadask.engine.blocks import Answer, Blocks, Ending
from limadask.engine.matched import MatchedBlocks
from limadask.engine.messages import dumps, loads
from limadask.frames import Frames
from limadask.memory import (
    BUDGET,
    Handle,
    PageAllocator,
    Segment,
    SharedAllocator,
    SharedReader,
)

SHARED_FROM = 1 << 20
"""Bytes of a block from which on shared memory is faster than TCP (docs/benchmarks.md)."""
FETCH = 30.0
"""Seconds that a block may take by TCP."""
TRIAL = 5.0
"""Seconds that a worker may take to tell whether it can open a receiver's memory."""


@dataclass(frozen=True, slots=True)
class SharedBlock:
    """A block whose pixels, or chunks, have stayed in the memory of its receiver.

    Parameters
    ----------
    frames:
        Everything but these.
    handle:
        Where these are.
    receiver:
        Address of the worker that has them.
    """

    frames: Frames
    handle: Handle
    receiver: str


@sizeof.register(Frames)
def _(frames: Frames) -> int:
    return frames.nbytes + 25 * len(frames) + 200


@sizeof.register(SharedBlock)
def _(block: SharedBlock) -> int:
    return int(sizeof(block.frames)) + 300


class Transfers:
    """The ways that the blocks of one worker come and go; touched by its event loop alone.

    Parameters
    ----------
    worker:
        The Dask worker.
    blocks:
        Returns what an acquisition's receiver holds here, if there is one.
    """

    def __init__(
        self, worker: Worker, blocks: Callable[[str], Blocks | MatchedBlocks | None]
    ) -> None:
        self._worker, self._blocks = worker, blocks
        self._shared: dict[str, tuple[SharedAllocator, set[str]]] = {}
        self._readers: dict[str, SharedReader] = {}
        self._over: deque[str] = deque(maxlen=64)  # an offer may come after the end

    # ---- the receiver's side --------------------------------------------------------------------

    async def share(
        self,
        uuid: str,
        slots: int,
        slot_nbytes: int,
        processors: Iterable[str],
        pages: PageAllocator | None = None,
    ) -> tuple[SharedAllocator | None, list[str]]:
        """Return shared memory for a pool, if some other processing worker can open it.

        And why not all workers of this computer can, to whom blocks go by TCP then.
        """
        others = [one for one in processors if one != self._worker.address]
        wanted = dask.config.get("limadask.shared-memory", True)
        if not (wanted and others and slots and slot_nbytes >= SHARED_FROM):
            return None, []
        try:
            allocator = SharedAllocator(slots, slot_nbytes, pages)
        except MemoryError as error:
            return None, [f"blocks go to all other workers by TCP: {error}"]
        tried = await asyncio.gather(*(self._try(uuid, allocator.segment, one) for one in others))
        told = dict(zip(others, tried, strict=True))
        able = {one for one, refusal in told.items() if not refusal}
        host = get_address_host(self._worker.address)
        unable = [
            f"blocks go to {one} by TCP: {refusal}"
            for one, refusal in told.items()
            if refusal and get_address_host(one) == host
        ]
        if not able:
            return None, unable
        self._shared[uuid] = allocator, able
        return allocator, unable

    async def _try(self, uuid: str, segment: Segment, processor: str) -> str:
        """Let a worker open a segment; return why it cannot."""
        try:
            async with asyncio.timeout(TRIAL):
                answer = await self._worker.rpc(processor).limadask_open_shared(
                    uuid=uuid, segment=dumps(segment)
                )
        except OSError as error:  # TimeoutError is one
            return f"it does not answer ({error or type(error).__name__})"
        return str(answer["result"])

    def hand_over(self, uuid: str, answer: Answer, processor: str) -> Answer | SharedBlock:
        """Return what travels to a processing worker in place of a block."""
        allocator, able = self._shared.get(uuid, (None, set[str]()))
        if allocator is None or processor not in able or not isinstance(answer, Frames):
            return answer
        memory = answer.memory
        handle = allocator.handle(memory)
        if handle is None or memory.nbytes < SHARED_FROM:
            return answer
        blank = np.empty((0, *memory.shape[1:]), memory.dtype)
        return SharedBlock(answer.moved(blank), handle, self._worker.address)

    async def send(self, uuid: str, ticket: int) -> dict[str, Any]:
        """Send a block by TCP to a worker that cannot open it."""
        blocks = self._blocks(uuid)
        return {"result": to_serialize(Ending.ABSENT if blocks is None else blocks.kept(ticket))}

    # ---- the processing worker's side -----------------------------------------------------------

    async def warm_up(self, receivers: Iterable[str]) -> None:
        """Connect to those whose blocks will come here: the first one would wait for it."""
        for address in receivers:
            if address != self._worker.address:
                await self._worker.rpc(address).identity()

    async def open_shared(self, uuid: str, segment: bytes) -> dict[str, Any]:
        """Tell why a receiver's pool cannot be opened, or does not fit here; empty if it does.

        What a process has read of shared memory counts as its own.
        """
        found: Segment = loads(segment)
        reader = self._readers.get(uuid) or SharedReader(uuid)
        if uuid in self._over:
            return {"result": "its acquisition is over there"}
        try:
            with BUDGET.room(found.nbytes) as is_granted:
                if not is_granted:
                    raise MemoryError(BUDGET.refusal(found.nbytes))
                reader.open(found)
        except (OSError, MemoryError) as error:
            return {"result": f"shared memory cannot be opened there: {error}"}
        self._readers[uuid] = reader
        return {"result": ""}

    async def take(self, uuid: str, ticket: int, block: Answer | SharedBlock) -> Answer:
        """Return the block itself."""
        if not isinstance(block, SharedBlock):
            return block
        try:
            memory = self._readers[uuid].read(block.handle)
        except (KeyError, OSError):  # made for another worker than this one, which is lost
            return await self._fetch(uuid, ticket, block.receiver)
        return Ending.ABSENT if memory is None else block.frames.moved(memory)

    async def _fetch(self, uuid: str, ticket: int, receiver: str) -> Answer:
        try:
            async with asyncio.timeout(FETCH):
                told = await self._worker.rpc(receiver).limadask_send_block(
                    uuid=uuid, ticket=ticket
                )
        except OSError:  # TimeoutError is one
            return Ending.ABSENT  # its receiver is gone
        block: Answer = told["result"]
        return block

    # ---- the end --------------------------------------------------------------------------------

    def release(self, uuid: str) -> None:
        """Let go of the memory of an acquisition."""
        self._shared.pop(uuid, None)
        self._readers.pop(uuid, None)
        self._over.append(uuid)
