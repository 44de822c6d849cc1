"""Blocks on their way through a pipeline node by node, each node a task of its own."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from limadask.engine.blocks import Ending
from limadask.engine.messages import receipt
from limadask.engine.priority import PriorityPool
from limadask.frames import Frames
from limadask.pipeline import Walk


@dataclass(frozen=True, slots=True)
class _Way:
    walk: Walk
    born: float
    handed: float
    taken: float
    rank: tuple[int, int]


class Walks:
    """The blocks of a worker that have begun and not concluded.

    Parameters
    ----------
    pool:
        The threads that process.
    """

    def __init__(self, pool: PriorityPool) -> None:
        self._pool = pool
        self._ways: dict[tuple[str, int], _Way | Ending] = {}

    def begin(
        self,
        uuid: str,
        ticket: int,
        walk: Callable[[Frames], Walk],
        frames: Frames,
        rank: tuple[int, int],
    ) -> None:
        """Begin the walk of a block that has come to this worker now."""
        taken = time.time()  # the walk's own time begins later
        way = _Way(walk(frames), frames.born, frames.handed, taken, rank)
        self._ways[uuid, ticket] = way

    def end(self, uuid: str, ticket: int, ending: Ending) -> None:
        """Remember that there is no block."""
        self._ways[uuid, ticket] = ending

    def forget(self, uuid: str) -> None:
        """Let go of the blocks of an acquisition that never concluded."""
        for key in [one for one in self._ways if one[0] == uuid]:
            del self._ways[key]

    async def step(self, uuid: str, ticket: int, label: str) -> None:
        """Take a block through one node, as far as it is here."""
        way = self._ways.get((uuid, ticket), Ending.ABSENT)
        if not isinstance(way, Ending):
            await self._pool.run(way.rank, functools.partial(way.walk.step, label))

    async def finish(self, uuid: str, ticket: int) -> dict[str, Any]:
        """Let the sinks write a block; return its receipt."""
        way = self._ways.pop((uuid, ticket), Ending.ABSENT)
        if isinstance(way, Ending):
            return {"ending": way.value}
        outcome = await self._pool.run(way.rank, way.walk.finish)
        return receipt(outcome, way.born, way.handed, way.taken)
