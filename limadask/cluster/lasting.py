"""What outlives a run on a worker: observation points, results, blocks held for users."""

from __future__ import annotations

from typing import Any

from limadask.cluster.answers import answer_of
from limadask.engine.messages import dumps
from limadask.pipeline.hold import Holder

LASTING_RUNS = 4
"""Runs whose observation points and held blocks can still be asked for, the last ones."""


class Lasting:
    """What of the last runs can still be asked for what it holds."""

    def __init__(self) -> None:
        self._sinks: dict[str, dict[str, Any]] = {}

    def keep(self, uuid: str, lasting: dict[str, Any]) -> None:
        """Remember those of a run, by node."""
        if lasting:
            self._sinks[uuid] = lasting
            while len(self._sinks) > LASTING_RUNS:
                del self._sinks[next(iter(self._sinks))]

    async def pull(self, uuid: str, node: str, what: str) -> dict[str, Any]:
        """Return what an observation point has seen, or a task knows; asked by clients directly."""
        writer = self._sinks.get(uuid, {}).get(node)
        if writer is None:
            return {"result": None}
        return await answer_of(lambda: dumps(getattr(writer, what)()))

    async def reserve(self, uuid: str, node: str, number: int) -> dict[str, Any]:
        """Keep a held block for somebody who will take it; False if it is gone."""
        holder = self._sinks.get(uuid, {}).get(node)
        return {"result": isinstance(holder, Holder) and holder.reserve(number)}

    def take(self, uuid: str, node: str, number: int) -> Any:
        """Hand a reserved block over, labelled."""
        holder = self._sinks[uuid][node]
        if not isinstance(holder, Holder):
            raise TypeError(f"{node!r} holds no blocks")
        return holder.take(number)
